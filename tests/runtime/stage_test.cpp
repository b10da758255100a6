#include "runtime/stage.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

platform on(std::string device, std::string gpu) {
  platform p;
  p.device = std::move(device);
  p.gpu = std::move(gpu);
  return p;
}

}  // namespace

TEST(stage, measures_where_it_searches_for_kernels_of_one_gpu) {
  const stage_spec plain{"default", {}};
  const stage_spec tuned{"max-autotune", {{"max_autotune", "true"}, {"coordinate_descent_tuning", "true"}}};
  const stage_spec descends{"mine", {{"coordinate_descent_tuning", "true"}}};
  const stage_spec not_tuned{"not", {{"max_autotune", "false"}, {"max_autotune_gemm", "null"}, {"freezing", "true"}}};
  const auto gpu = on("cuda", "NVIDIA H100 80GB HBM3 sm_90"), any_gpu = on("cuda", "sm_90"), cpu = on("cpu", "");
  struct {
    const char* what;
    stage_spec stage;
    stage_list plan;
    platform target;
    bool measures;
  } const cases[] = {
      {"what is asked for", tuned, {plain, tuned}, gpu, true},
      {"another way of it", descends, {plain, descends}, gpu, true},
      {"not the stage before", plain, {plain, tuned}, gpu, false},
      {"what is turned off asks for nothing", not_tuned, {not_tuned, tuned}, gpu, false},
      {"the client's process has set it", plain, {plain}, gpu, true},
      {"any GPU does, so nothing is searched for", plain, {plain}, any_gpu, false},
      {"a CPU has room for all", tuned, {plain, tuned}, cpu, false},
  };
  for (const auto& c : cases) EXPECT_EQ(measures(c.stage, c.plan, c.target), c.measures) << c.what;
}
