#pragma once
// Who is in the farms that tests/counted counts in.

#include "runtime/platform.hpp"

#include <vector>

namespace fxfarm::counted {

// Two versions of torch, three CPU levels, with a GPU and without.
inline std::vector<platform> machines() {
  std::vector<platform> all;
  for (const char* torch : {"2.12.0+cu130", "2.13.0+cu130"}) {
    for (const char* isa : {"x86-64-v2", "x86-64-v3", "x86-64-v4"}) {
      for (const bool gpu : {false, true}) {
        platform p;
        p.torch = torch;
        p.python = "3.11";
        p.triton = "3.6.0";
        p.isa = isa;
        p.threads = 16;
        if (gpu) {
          p.device = "cuda";
          p.gpu = "NVIDIA H100 80GB HBM3 sm_90";
          p.gpu_driver = "cuda 13.0";
        }
        all.push_back(std::move(p));
      }
    }
  }
  return all;
}

}  // namespace fxfarm::counted
