// These tests' program is a guard, too: one that has nothing to do but that.
#include "runtime/engine_process.hpp"

#include <cstring>

#include <gtest/gtest.h>

int main(int argc, char** argv) {
  if (argc == 1 && std::strcmp(argv[0], "guard") == 0) fxfarm::guard_group();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
