#pragma once
// A condition on integers as steps of a stack machine, checked once so that running them needs no bounds checks.
// Integers are of 64 bits; where Python's would be longer, running them has no answer.

#include "runtime/error.hpp"
#include "runtime/limits.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace fxfarm {

class integer_steps {
public:
  // `number` and `argument` push one; `negate` and `is_not` replace the last; the others replace the last two.
  // Division is Python's: towards minus infinity. Conditions are 0 and 1; `both` and `either` take any number for one.
  enum class kind : std::uint8_t {
    number,
    argument,
    negate,
    is_not,
    add,
    subtract,
    multiply,
    floor_divide,
    modulo,
    smaller,
    larger,
    equal,
    unequal,
    less,
    less_or_equal,
    both,
    either,
  };
  struct step {
    kind what = kind::number;
    std::int64_t operand = 0;  // the number, or the argument's position
  };

  // As the enumerators are called.
  static std::optional<kind> kind_of(std::string_view word);
  // `bad_config` when there are too many steps or arguments, one finds too little, or not exactly one value is left.
  static result<integer_steps> make(std::vector<step> steps);

  // The positions that the steps look at, each once: limits::guard_arguments_max at most.
  std::span<const std::size_t> arguments() const { return arguments_; }

  // Whether the condition holds of `values`, one for each of arguments(). Nothing when a number gets too large or
  // something is divided by zero.
  std::optional<bool> run(std::span<const std::int64_t> values) const {
    std::array<std::int64_t, limits::guard_depth_max> stack;
    std::int64_t* top = stack.data();  // the place of the next one
    for (const step& s : steps_) {
      if (s.what == kind::argument) {
        *top++ = values[static_cast<std::size_t>(s.operand)];
      } else if (s.what == kind::number) {
        *top++ = s.operand;
      } else if (s.what == kind::negate) {
        if (__builtin_sub_overflow(std::int64_t{0}, top[-1], &top[-1])) return std::nullopt;
      } else if (s.what == kind::is_not) {
        top[-1] = top[-1] == 0;
      } else {
        --top;
        if (!apply(s.what, top[-1], *top)) return std::nullopt;
      }
    }
    return stack[0] != 0;
  }

private:
  integer_steps(std::vector<step> steps, std::vector<std::size_t> arguments)
      : steps_(std::move(steps)), arguments_(std::move(arguments)) {}
  // False when there is no answer. In this file, so that it becomes a part of the loop.
  static bool apply(kind what, std::int64_t& left, std::int64_t right);
  static bool divide(kind what, std::int64_t& left, std::int64_t right);

  std::vector<step> steps_;  // the operand of `argument` is an index into what follows
  std::vector<std::size_t> arguments_;
};

inline bool integer_steps::apply(kind what, std::int64_t& left, std::int64_t right) {
  switch (what) {
    case kind::add:
      return !__builtin_add_overflow(left, right, &left);
    case kind::subtract:
      return !__builtin_sub_overflow(left, right, &left);
    case kind::multiply:
      return !__builtin_mul_overflow(left, right, &left);
    case kind::floor_divide:
    case kind::modulo:
      return divide(what, left, right);
    case kind::smaller:
      left = std::min(left, right);
      return true;
    case kind::larger:
      left = std::max(left, right);
      return true;
    case kind::equal:
      left = left == right;
      return true;
    case kind::unequal:
      left = left != right;
      return true;
    case kind::less:
      left = left < right;
      return true;
    case kind::less_or_equal:
      left = left <= right;
      return true;
    case kind::both:
      left = left != 0 && right != 0;
      return true;
    case kind::either:
      left = left != 0 || right != 0;
      return true;
    case kind::number:
    case kind::argument:
    case kind::negate:
    case kind::is_not:
      break;
  }
  return false;
}

}  // namespace fxfarm
