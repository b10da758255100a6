#include "runtime/keys.hpp"

#include "runtime/digest.hpp"

#include <set>

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

struct inputs {
  std::string graph = std::string(64, '0');
  platform target{"2.13.0+cpu", "3.11", "3.6.0", "x86_64", "x86-64-v3", 4, "cuda", "H200 sm_90", "570.1 12.8"};
  stage_spec stage{"max-autotune", {{"max_autotune", "true"}, {"epilogue_fusion", "false"}}};
  std::string salt = "salt";

  std::string key() const { return make_stage_key(graph, target, stage, salt); }
};

}  // namespace

TEST(stage_key_memo, gives_what_make_stage_key_does_also_after_it_had_to_forget) {
  stage_key_memo memo("salt", 2);
  for (int round = 0; round < 2; ++round) {
    for (int graph = 0; graph < 5; ++graph) {
      for (std::size_t stage = 0; stage < limits::stages_remembered_max + 5; ++stage) {
        inputs i;
        i.graph = std::string(64, static_cast<char>('0' + graph));
        i.stage.options["mode"] = std::to_string(stage);
        i.target.threads = static_cast<unsigned>(stage % 3);
        ASSERT_EQ(memo.of(i.graph, i.target, i.stage), i.key());
        ASSERT_EQ(memo.of(i.graph, i.target, i.stage), i.key());
      }
    }
  }
}

// Stores outlive programs: whoever has to change this value must change key_epoch.
TEST(stage_key, has_a_golden_value) {
  EXPECT_EQ(inputs().key(), "f3c1e679202bc1c1107184d492957a5c22163707c9e5ea7c0cbe375e03d198ab");
}

TEST(stage_key, changes_with_each_thing_that_changes_the_code) {
  void (*const changes[])(inputs&) = {
      [](inputs&) {},
      [](inputs& i) { i.graph = std::string(64, '1'); },
      [](inputs& i) { i.salt = "pepper"; },
      [](inputs& i) { i.salt = ""; },
      [](inputs& i) { i.target.torch = "2.12.0"; },
      [](inputs& i) { i.target.python = "3.12"; },
      [](inputs& i) { i.target.triton = ""; },
      [](inputs& i) { i.target.arch = "aarch64"; },
      [](inputs& i) { i.target.isa = "x86-64-v4"; },
      [](inputs& i) { i.target.threads = 5; },
      [](inputs& i) { i.target.device = "cpu"; },
      [](inputs& i) { i.target.gpu = "A100"; },
      [](inputs& i) { i.target.gpu_driver = "550"; },
      [](inputs& i) { std::swap(i.target.torch, i.target.python); },
      [](inputs& i) { i.stage.options["max_autotune"] = "false"; },
      [](inputs& i) { i.stage.options["new"] = "true"; },
      [](inputs& i) { i.stage.options.erase("max_autotune"); },
      [](inputs& i) { i.stage.options.clear(); },
  };
  std::set<std::string> keys;
  for (auto change : changes) {
    inputs i;
    change(i);
    EXPECT_TRUE(is_digest(i.key()));
    keys.insert(i.key());
  }
  EXPECT_EQ(keys.size(), std::size(changes));
}

TEST(stage_key, covers_every_field_of_a_platform) {
  int fields = 0;
  platform p;
  platform::fields(p, [&](std::string_view, auto&) { ++fields; });
  EXPECT_EQ(fields, 9) << "a new field needs a line in the table above";
}

TEST(stage_key, does_not_depend_on_what_the_stage_is_called) {
  inputs renamed;
  renamed.stage.name = "my stage";
  EXPECT_EQ(renamed.key(), inputs().key());
}
