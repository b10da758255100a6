// Workers and jobs for tests of the scheduler.
#pragma once

#include "runtime/scheduler.hpp"

#include <string>

#include <gtest/gtest.h>

namespace fxfarm {

inline platform machine(std::string torch = "2.13.0", std::string isa = "x86-64-v3") {
  platform p;
  p.torch = std::move(torch);
  p.python = "3.11";
  p.isa = std::move(isa);
  return p;
}

inline scheduler::worker_offer offer(unsigned slots, platform runs_on = machine()) {
  scheduler::worker_offer o;
  o.runs_on = std::move(runs_on);
  o.slots = slots;
  return o;
}

inline platform with_gpu(platform p = machine()) {
  p.device = "cuda";
  p.triton = "3.6.0";
  p.gpu = "H100 sm_90";
  p.gpu_driver = "cuda 13.0";
  return p;
}

inline scheduler::request job_of(std::string space, std::string job, unsigned rank = 0) {
  return {std::move(job), machine(), rank, std::move(space), 0, {}};
}

// "job@worker job@worker ...", in the order of assignment.
inline std::string assigned(scheduler& s) {
  std::string out;
  for (const auto& a : s.assign()) out += (out.empty() ? "" : " ") + a.job + "@" + a.worker;
  return out;
}

}  // namespace fxfarm
