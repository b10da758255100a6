#include "runtime/store_directory.hpp"

#include "runtime/digest.hpp"
#include "scratch_directory.hpp"

#include <fstream>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

std::string key_of(const std::string& text) {
  return digest_hex(view_of(text));
}

stored artifact(const std::string& text) {
  return {make_blob(to_bytes(text)), {{"codegen", 1.5}}, "worker", ""};
}

class store_directory_test : public ::testing::Test {
protected:
  store_directory make(const std::string& name) {
    auto made = store_directory::make(scratch.path() / name);
    EXPECT_TRUE(made);
    return *std::move(made);
  }
  std::filesystem::path file_of(const std::string& directory, const std::string& key) {
    return scratch.path() / directory / key.substr(0, 2) / key;
  }
  void break_file(const std::filesystem::path& file) { std::ofstream(file, std::ios::app) << "more"; }

  scratch_directory scratch;
};

std::vector<stored_entry> used_ago(std::initializer_list<std::pair<std::chrono::seconds, std::uint64_t>> ages,
                                   std::chrono::system_clock::time_point now) {
  std::vector<stored_entry> out;
  for (const auto& [age, bytes] : ages) out.push_back({std::to_string(out.size()), bytes, now - age, "disk"});
  return out;
}

std::string keys(const std::vector<stored_entry>& entries) {
  std::string out;
  for (const auto& e : entries) out += e.key;
  return out;
}

}  // namespace

TEST_F(store_directory_test, what_is_not_there_is_not_made_by_looking) {
  EXPECT_EQ(store_directory::open(scratch.path() / "none").failure().code, errc::not_found);
  EXPECT_FALSE(std::filesystem::exists(scratch.path() / "none"));
}

TEST_F(store_directory_test, lists_what_was_used_last_first_and_marks_nothing_as_used) {
  auto directory = make("a");
  for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(directory.write(key_of(text), artifact(text)));
  auto listed = directory.list();
  ASSERT_TRUE(listed);
  ASSERT_EQ(listed->size(), 3u);
  EXPECT_EQ((*listed)[0].key, key_of("three"));
  ASSERT_TRUE(directory.read(key_of("one")));
  EXPECT_EQ(directory.list()->at(0).key, key_of("three"));
  EXPECT_EQ(directory.list(key_of("two").substr(0, 9))->size(), 1u);
}

TEST_F(store_directory_test, verify_names_what_does_not_match_its_digest_and_leaves_it) {
  auto directory = make("a");
  for (const char* text : {"one", "two"}) ASSERT_TRUE(directory.write(key_of(text), artifact(text)));
  break_file(file_of("a", key_of("two")));
  auto report = verify(directory);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->artifacts, 1u);
  ASSERT_EQ(report->faults.size(), 1u);
  EXPECT_EQ(report->faults[0].key, key_of("two"));
  EXPECT_EQ(report->faults[0].why.code, errc::corrupt);
  EXPECT_TRUE(std::filesystem::exists(file_of("a", key_of("two"))));
}

TEST_F(store_directory_test, a_copy_has_all_that_is_whole_and_what_is_kept_beside_it) {
  auto from = make("a");
  auto to = make("b");
  for (const char* text : {"one", "two"}) ASSERT_TRUE(from.write(key_of(text), artifact(text)));
  break_file(file_of("a", key_of("two")));
  auto report = copy(from, to);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->artifacts, 1u);
  EXPECT_EQ(report->faults.size(), 1u);
  EXPECT_EQ(to.list()->size(), 1u);
  auto one = to.read(key_of("one"));
  ASSERT_TRUE(one);
  EXPECT_EQ(text_of(*one->data), "one");
  EXPECT_EQ(one->made_by, "worker");
  EXPECT_EQ(one->phases.at("codegen"), 1.5);
}

TEST_F(store_directory_test, a_file_under_a_wrong_name_is_not_copied) {
  auto from = make("a");
  ASSERT_TRUE(from.write(key_of("one"), artifact("one")));
  const auto wrong = file_of("a", key_of("two"));
  std::filesystem::create_directories(wrong.parent_path());
  std::filesystem::copy_file(file_of("a", key_of("one")), wrong);
  auto report = copy(from, make("b"), key_of("two"));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->artifacts, 0u);
  EXPECT_EQ(report->faults.at(0).why.code, errc::corrupt);
}

TEST(store_directory, gc_removes_what_was_used_least_lately) {
  const auto now = std::chrono::system_clock::now();
  const auto entries = used_ago({{1s, 10}, {60s, 10}, {3600s, 10}}, now);
  const std::vector<std::pair<gc_rules, std::string>> rows{
      {{}, ""},
      {{.bytes_max = 30}, ""},
      {{.bytes_max = 29}, "2"},
      {{.bytes_max = 0}, "012"},
      {{.age_max = 100s}, "2"},
      {{.bytes_max = 15, .age_max = 3600s}, "12"},
  };
  for (const auto& [rules, gone] : rows) EXPECT_EQ(keys(to_remove(entries, rules, now)), gone);
}
