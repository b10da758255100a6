#pragma once
// A test of a call's integer arguments (the sizes of dynamic shapes) that runs no Python: what a guard costs is paid in
// each call of a stage. A raw CPython type for the same reason that `Slot` is one.

#include "runtime/integer_steps.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <Python.h>

namespace fxfarm::python {

// The `IntegerGuard` of Python. A model is mostly called with the sizes of its last call, so the values that fitted
// last are compared before any step is run. All of it needs the interpreter lock, which also guards the memory of them.
class integer_guard {
public:
  explicit integer_guard(integer_steps steps) : steps_(std::move(steps)) {}

  // Whether the arguments fit; nothing when one that is looked at is missing, no int of Python's or of more than 64
  // bits, or the steps have no answer.
  std::optional<bool> fits(PyObject* const* args, std::size_t count) {
    if (as_last_time(args, count)) return true;
    return run(args, count);
  }

private:
  bool as_last_time(PyObject* const* args, std::size_t count) const {
    const auto positions = steps_.arguments();
    for (std::size_t i = 0; i < last_.size(); ++i) {
      if (number_at(positions[i], args, count) != last_[i]) return false;
    }
    return !last_.empty();
  }
  static std::optional<std::int64_t> number_at(std::size_t position, PyObject* const* args, std::size_t count) {
    if (position >= count || !PyLong_Check(args[position])) return std::nullopt;
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(args[position], &overflow);
    if (overflow != 0) return std::nullopt;
    return number;
  }
  std::optional<bool> run(PyObject* const* args, std::size_t count);

  integer_steps steps_;
  std::vector<std::int64_t> last_;  // what fitted; empty: nothing has
};

// The guard that `o` is, which lives as long as `o`; null when `o` is something else.
integer_guard* as_integer_guard(PyObject* o);

// Adds the type `IntegerGuard` to `module`. 0, or -1 with a Python error set.
int add_integer_guard_type(PyObject* module);

}  // namespace fxfarm::python
