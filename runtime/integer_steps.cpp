#include "runtime/integer_steps.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <unordered_map>

namespace fxfarm {
namespace {

using kind = integer_steps::kind;

constexpr std::array<std::pair<std::string_view, kind>, 17> words{{
    {"number", kind::number},
    {"argument", kind::argument},
    {"negate", kind::negate},
    {"is_not", kind::is_not},
    {"add", kind::add},
    {"subtract", kind::subtract},
    {"multiply", kind::multiply},
    {"floor_divide", kind::floor_divide},
    {"modulo", kind::modulo},
    {"smaller", kind::smaller},
    {"larger", kind::larger},
    {"equal", kind::equal},
    {"unequal", kind::unequal},
    {"less", kind::less},
    {"less_or_equal", kind::less_or_equal},
    {"both", kind::both},
    {"either", kind::either},
}};

std::size_t taken_by(kind what) {
  if (what == kind::number || what == kind::argument) return 0;
  return what == kind::negate || what == kind::is_not ? 1 : 2;
}

// Quotient and remainder as Python has them: towards minus infinity. The divisor is not zero.
std::pair<std::int64_t, std::int64_t> divided(std::int64_t left, std::int64_t right) {
  auto quotient = left / right;
  auto rest = left % right;
  if (rest != 0 && (rest < 0) != (right < 0)) {
    --quotient;
    rest += right;
  }
  return {quotient, rest};
}

// The positions of arguments, each once, in whose place the steps get their indices.
std::vector<std::size_t> number_arguments(std::vector<integer_steps::step>& steps) {
  std::vector<std::size_t> positions;
  std::unordered_map<std::int64_t, std::int64_t> index_of;
  for (auto& s : steps) {
    if (s.what != kind::argument) continue;
    const auto [found, is_new] = index_of.try_emplace(s.operand, std::ssize(positions));
    if (is_new) positions.push_back(static_cast<std::size_t>(s.operand));
    s.operand = found->second;
  }
  return positions;
}

}  // namespace

std::optional<kind> integer_steps::kind_of(std::string_view word) {
  const auto* found = std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.first == word; });
  if (found == words.end()) return std::nullopt;
  return found->second;
}

result<integer_steps> integer_steps::make(std::vector<step> steps) {
  if (steps.size() > limits::guard_steps_max) return {errc::bad_config, "too many steps"};
  std::size_t depth = 0;
  for (const step& s : steps) {
    const auto taken = taken_by(s.what);
    if (depth < taken) return {errc::bad_config, "a step finds too little"};
    depth += 1 - taken;
    if (depth > limits::guard_depth_max) return {errc::bad_config, "too many values at the same time"};
    if (s.what == kind::argument && s.operand < 0) return {errc::bad_config, "an argument before the first"};
  }
  if (depth != 1) return {errc::bad_config, "not one value is left but " + std::to_string(depth)};
  auto arguments = number_arguments(steps);
  if (arguments.size() > limits::guard_arguments_max) return {errc::bad_config, "too many arguments"};
  return integer_steps(std::move(steps), std::move(arguments));
}

bool integer_steps::divide(kind what, std::int64_t& left, std::int64_t right) {
  // The smallest number has no positive counterpart.
  if (right == 0 || (right == -1 && left == std::numeric_limits<std::int64_t>::min())) return false;
  const auto [quotient, rest] = divided(left, right);
  left = what == kind::floor_divide ? quotient : rest;
  return true;
}

}  // namespace fxfarm
