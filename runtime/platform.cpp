#include "runtime/platform.hpp"

namespace fxfarm {
namespace {

error missing(std::string_view what, const std::string& wanted, const std::string& offered) {
  return {errc::refused, std::string(what) + " " + (wanted.empty() ? "none" : wanted) + " wanted, the worker has " +
                             (offered.empty() ? "none" : offered)};
}

bool is_capability(const std::string& gpu) {
  return gpu.starts_with("sm_");
}

// "H200 sm_90" serves "sm_90" and itself.
bool serves_gpu(const std::string& worker, const std::string& wanted) {
  return worker == wanted || (is_capability(wanted) && worker.ends_with(" " + wanted));
}

}  // namespace

int isa_rank(std::string_view isa) {
  if (isa == "x86-64" || isa == "x86-64-v1") return 1;
  if (isa == "x86-64-v2") return 2;
  if (isa == "x86-64-v3") return 3;
  if (isa == "x86-64-v4") return 4;
  return 0;
}

bool is_one_gpu(const platform& p) {
  return p.device != "cpu" && !is_capability(p.gpu);
}

result<void> can_compile_for(const platform& worker, const platform& wanted) {
  if (worker.torch != wanted.torch) return missing("torch", wanted.torch, worker.torch);
  if (worker.python != wanted.python) return missing("Python", wanted.python, worker.python);
  if (worker.arch != wanted.arch) return missing("architecture", wanted.arch, worker.arch);
  if (isa_rank(wanted.isa) == 0) return missing("a known CPU level", wanted.isa, worker.isa);
  if (isa_rank(worker.isa) < isa_rank(wanted.isa)) return missing("CPU level", wanted.isa, worker.isa);
  if (wanted.device == "cpu") return {};
  if (worker.triton != wanted.triton) return missing("Triton", wanted.triton, worker.triton);
  if (worker.device != wanted.device) return missing("device", wanted.device, worker.device);
  if (!serves_gpu(worker.gpu, wanted.gpu)) return missing("GPU", wanted.gpu, worker.gpu);
  if (worker.gpu_driver != wanted.gpu_driver) return missing("GPU driver", wanted.gpu_driver, worker.gpu_driver);
  return {};
}

}  // namespace fxfarm
