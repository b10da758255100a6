#include "runtime/platform.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

platform cpu() {
  platform p;
  p.torch = "2.13.0+cpu";
  p.python = "3.11";
  p.triton = "3.6.0";
  return p;
}

platform cuda() {
  auto p = cpu();
  p.device = "cuda";
  p.gpu = "H200 sm_90";
  p.gpu_driver = "570.1 12.8";
  return p;
}

}  // namespace

TEST(platform, levels_of_the_instruction_set_are_ranked) {
  EXPECT_EQ(isa_rank("x86-64"), 1);
  EXPECT_EQ(isa_rank("x86-64-v1"), 1);
  EXPECT_EQ(isa_rank("x86-64-v2"), 2);
  EXPECT_EQ(isa_rank("x86-64-v3"), 3);
  EXPECT_EQ(isa_rank("x86-64-v4"), 4);
  for (auto unknown : {"", "x86-64-v5", "x86-64-v", "armv8", "X86-64"}) EXPECT_EQ(isa_rank(unknown), 0) << unknown;
}

TEST(platform, a_worker_compiles_for_its_own_kind) {
  EXPECT_TRUE(can_compile_for(cpu(), cpu()));
  EXPECT_TRUE(can_compile_for(cuda(), cuda()));
}

struct platform_case {
  const char* what;
  platform base;
  void (*change)(platform& wanted);
  bool allowed;
};

TEST(platform, what_a_worker_can_compile_for) {
  const platform_case cases[] = {
      {"another torch", cpu(), [](platform& p) { p.torch = "2.12.0"; }, false},
      {"another Python", cpu(), [](platform& p) { p.python = "3.12"; }, false},
      {"another architecture", cpu(), [](platform& p) { p.arch = "aarch64"; }, false},
      {"an older CPU", cpu(), [](platform& p) { p.isa = "x86-64-v2"; }, true},
      {"a newer CPU", cpu(), [](platform& p) { p.isa = "x86-64-v4"; }, false},
      {"an unknown CPU", cpu(), [](platform& p) { p.isa = "z80"; }, false},
      {"another thread count", cpu(), [](platform& p) { p.threads = 64; }, true},
      {"another Triton, on CPU", cpu(), [](platform& p) { p.triton = ""; }, true},
      {"another Triton, on GPU", cuda(), [](platform& p) { p.triton = "3.5.0"; }, false},
      {"a CPU, from a GPU worker", cuda(),
       [](platform& p) {
         p.device = "cpu";
         p.gpu = p.gpu_driver = "";
       },
       true},
      {"a GPU, from a CPU worker", cpu(), [](platform& p) { p.device = "cuda"; }, false},
      {"another GPU", cuda(), [](platform& p) { p.gpu = "A100 sm_80"; }, false},
      {"any GPU of its capability", cuda(), [](platform& p) { p.gpu = "sm_90"; }, true},
      {"any GPU of another capability", cuda(), [](platform& p) { p.gpu = "sm_80"; }, false},
      {"any GPU of a capability with the same digits", cuda(), [](platform& p) { p.gpu = "sm_9"; }, false},
      {"the end of its GPU's name", cuda(), [](platform& p) { p.gpu = "0 sm_90"; }, false},
      {"no GPU in particular", cuda(), [](platform& p) { p.gpu = ""; }, false},
      {"another driver", cuda(), [](platform& p) { p.gpu_driver = "550"; }, false},
  };
  for (const auto& c : cases) {
    auto wanted = c.base;
    c.change(wanted);
    const auto answer = can_compile_for(c.base, wanted);
    EXPECT_EQ(answer.ok(), c.allowed) << c.what;
    if (answer.ok() == c.allowed && !c.allowed) {
      EXPECT_EQ(answer.failure().code, errc::refused) << c.what;
    }
  }
}

TEST(platform, a_refusal_says_what_was_wanted_and_what_is_there) {
  auto wanted = cuda();
  wanted.gpu = "A100 sm_80";
  EXPECT_EQ(can_compile_for(cuda(), wanted).failure().message, "GPU A100 sm_80 wanted, the worker has H200 sm_90");
  wanted = cuda();
  auto worker = cuda();
  worker.triton = "";
  EXPECT_EQ(can_compile_for(worker, wanted).failure().message, "Triton 3.6.0 wanted, the worker has none");
}
