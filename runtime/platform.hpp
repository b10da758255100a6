#pragma once
// What an artifact needs to run, and what a worker can compile for.

#include "runtime/error.hpp"

#include <string>

namespace fxfarm {

// Describes a client's machine, or the machine that an artifact is made for. Plain values, compared as they are.
struct platform {
  std::string torch;              // "2.13.0+cpu"
  std::string python;             // "3.11"
  std::string triton;             // "3.6.0", empty without Triton
  std::string arch = "x86_64";    // machine architecture
  std::string isa = "x86-64-v3";  // micro-architecture level that kernels are compiled for, see isa_rank
  unsigned threads = 1;           // torch.get_num_threads() of the client; code is right for any count
  std::string device = "cpu";     // "cpu" or "cuda"
  std::string gpu;                // model and compute capability, the latter alone where any model does, empty on CPU
  std::string gpu_driver;         // driver and CUDA versions, empty on CPU

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("torch", s.torch);
    f("python", s.python);
    f("triton", s.triton);
    f("arch", s.arch);
    f("isa", s.isa);
    f("threads", s.threads);
    f("device", s.device);
    f("gpu", s.gpu);
    f("gpu_driver", s.gpu_driver);
  }
  friend bool operator==(const platform&, const platform&) = default;
};

// 1..4 for "x86-64-v1".."x86-64-v4" (System V ABI's levels, "x86-64" is v1); 0 for a text that is no level.
int isa_rank(std::string_view isa);

// Whether it is one model of GPU, not any of a compute capability.
bool is_one_gpu(const platform& p);

// Whether a worker that runs on `worker` can make an artifact for `wanted`; `refused` with what is missing if not. The
// worker's instruction set must be at least the wanted one, since Inductor cannot aim above the CPU it runs on.
result<void> can_compile_for(const platform& worker, const platform& wanted);

}  // namespace fxfarm
