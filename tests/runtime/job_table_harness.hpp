// Jobs for tests of their table.
#pragma once

#include "runtime/job_table.hpp"

#include <gtest/gtest.h>

namespace fxfarm {

inline const time_point start_of_time{std::chrono::seconds(1000)};
inline const error crash{errc::engine_crashed, "killed by signal 11"};
inline const error compiler_error{errc::compile_failed, "no such operator"};

inline job_request wanted(std::string stage, std::string graph = "g") {
  job_request r;
  r.stage_key = std::move(stage);
  r.graph_key = std::move(graph);
  r.stage = std::make_shared<const stage_spec>(stage_spec{"default", {}});
  return r;
}

}  // namespace fxfarm
