#pragma once
// What a `Slot` is made of: its stages, of which calls run one (slot_call.hpp), and what may change that (slot.cpp).

#include "python/binding/call_times.hpp"
#include "python/binding/integer_guard.hpp"
#include "runtime/limits.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <Python.h>

namespace fxfarm::python {

// Stage 0 is eager.
inline constexpr std::size_t stages_max = limits::stages_per_graph_max + 1;

// One stage's callables. Lives as long as its slot, so that its count does; the callables go when a better stage comes.
struct stage_entry {
  PyObject* target = nullptr;
  PyObject* guard = nullptr;          // null: always fits
  integer_guard* integers = nullptr;  // what `guard` is; null: something else
  bool boxed = false;
  std::atomic<std::uint64_t> runs{0};
  call_times times;

  // The number of this run, from 0. Writers hold the interpreter lock, so that an increment needs no locked
  // instruction.
  std::uint64_t count() {
    const auto number = runs.load(std::memory_order_relaxed);
    runs.store(number + 1, std::memory_order_relaxed);
    return number;
  }
  // `by` is null, or decides whether a call's arguments fit.
  void set_guard(PyObject* by) {
    integers = by != nullptr ? as_integer_guard(by) : nullptr;
    Py_XSETREF(guard, Py_XNewRef(by));
  }
  void clear_guard() {
    integers = nullptr;
    Py_CLEAR(guard);
  }
  void clear() {
    clear_guard();
    Py_CLEAR(target);
  }
};

// Ownership across threads: a call takes its own reference to the target before anything can release the interpreter
// lock, so a publish in another thread frees the old target only after the last call in it has ended.
struct slot_object {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* dict;
  PyObject* weak_references;
  PyObject* name;
  PyObject* span_names;  // a tuple, of each stage's calls in a profile; null: none
  std::atomic<stage_entry*> current;
  stage_entry* best;    // ever published
  stage_entry* before;  // what `current` has replaced, while it may be rolled back; null: it may not
  PyObject* measured;   // called once it can be compared with `before`; null: has been called
  std::atomic<std::uint64_t> guard_misses;
  std::uint64_t due_at;  // the number of the call before which `due` is called
  PyObject* due;         // null: nothing is
  bool sealed;
  std::array<stage_entry, stages_max> stages;

  std::size_t index_of(const stage_entry* e) const { return static_cast<std::size_t>(e - stages.data()); }
  // How many calls have begun.
  std::uint64_t calls() const {
    std::uint64_t sum = 0;
    for (const stage_entry& stage : stages) sum += stage.runs.load(std::memory_order_relaxed);
    return sum;
  }
};

inline slot_object* as_slot(PyObject* o) {
  return reinterpret_cast<slot_object*>(o);
}

}  // namespace fxfarm::python
