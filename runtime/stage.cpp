#include "runtime/stage.hpp"

#include <algorithm>
#include <array>

namespace fxfarm {
namespace {

// MEASURING of python/fxfarm/stages.py.
constexpr std::array<const char*, 4> searching{"max_autotune", "max_autotune_gemm", "max_autotune_pointwise",
                                               "coordinate_descent_tuning"};

bool asks_to_search(const stage_spec& stage) {
  return std::any_of(searching.begin(), searching.end(), [&](const char* setting) {
    const auto it = stage.options.find(setting);
    return it != stage.options.end() && it->second != "false" && it->second != "null";
  });
}

}  // namespace

bool measures(const stage_spec& stage, const stage_list& plan, const platform& target) {
  if (!is_one_gpu(target)) return false;
  return asks_to_search(stage) || std::none_of(plan.begin(), plan.end(), asks_to_search);
}

}  // namespace fxfarm
