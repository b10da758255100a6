#include "runtime/engine_cache.hpp"

#include "scratch_directory.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

using namespace fxfarm;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<engine_cache> claim(const std::string& base, const std::string& space = {}) {
  auto claimed = engine_cache::claim(base, space);
  if (!claimed) {
    ADD_FAILURE() << to_string(claimed.failure());
    return nullptr;
  }
  return *std::move(claimed);
}

void touch(const std::string& file) {
  std::ofstream(file) << "x";
}

}  // namespace

TEST(engine_cache, two_engines_never_meet_and_the_next_one_inherits) {
  scratch_directory place;
  const auto base = place.path().string() + "/engines";
  std::string first;
  {
    const auto one = claim(base), other = claim(base);
    first = one->directory();
    EXPECT_NE(first, other->directory());
    touch(first + "/kernel.so");
  }
  const auto again = claim(base);
  EXPECT_EQ(again->directory(), first);
  EXPECT_TRUE(fs::exists(first + "/kernel.so"));
  EXPECT_EQ(fs::status(first).permissions(), fs::perms::owner_all);
}

TEST(engine_cache, a_namespace_of_its_own_never_has_what_another_has_had) {
  scratch_directory place;
  const auto base = place.path().string() + "/engines";
  std::string shared, a;
  {
    shared = claim(base)->directory();
    a = claim(base, "team-a")->directory();
  }
  const auto b = claim(base, "team-b");
  EXPECT_NE(b->directory(), a);
  EXPECT_NE(b->directory(), shared);
  EXPECT_EQ(claim(base, "team-a")->directory(), a);
  EXPECT_EQ(claim(base, "../..")->directory().find(".."), std::string::npos) << "a name is no path";
}

TEST(engine_cache, the_only_namespace_so_far_is_expected_and_of_several_none) {
  scratch_directory place;
  const auto base = place.path().string() + "/engines";
  EXPECT_EQ(engine_cache::tenant_to_expect(base), "");
  (void)claim(base);
  EXPECT_EQ(engine_cache::tenant_to_expect(base), "");
  const auto a = fs::path(claim(base, "team-a+team-b")->directory()).parent_path();
  EXPECT_EQ(engine_cache::tenant_to_expect(base), "team-a+team-b");
  std::ofstream(a / "name") << "team-c\n";
  EXPECT_EQ(engine_cache::tenant_to_expect(base), std::nullopt) << "another's name is not believed";
  (void)claim(base, "team-a+team-b");
  EXPECT_EQ(engine_cache::tenant_to_expect(base), "team-a+team-b");
  (void)claim(base, "team-c");
  EXPECT_EQ(engine_cache::tenant_to_expect(base), std::nullopt);
}

TEST(engine_cache, a_claim_ends_when_what_it_is_on_is_deleted_and_does_not_come_back) {
  for (const std::string deleted : {"0", "0.lock", ""}) {
    scratch_directory place;
    const auto base = place.path().string() + "/engines";
    const auto first = claim(base);
    ASSERT_TRUE(first->holds());
    fs::remove_all(base + "/" + deleted);
    EXPECT_FALSE(first->holds()) << deleted;
    if (deleted == "0") continue;
    const auto second = claim(base);
    EXPECT_EQ(second->directory(), first->directory());
    EXPECT_TRUE(second->holds());
    EXPECT_FALSE(first->holds());
  }
}

TEST(engine_cache, a_lock_that_was_taken_over_is_not_removed_by_who_had_it) {
  scratch_directory place;
  const auto base = place.path().string() + "/engines";
  auto first = claim(base);
  fs::remove(base + "/0.lock");
  const auto second = claim(base);
  first.reset();
  EXPECT_TRUE(second->holds());
}

TEST(engine_cache, what_a_job_has_opened_to_others_is_closed_again) {
  scratch_directory place;
  const auto base = place.path().string() + "/engines";
  const auto directory = claim(base, "team-a")->directory();
  fs::permissions(directory, fs::perms::all);
  const auto next = claim(base, "team-a");
  EXPECT_EQ(next->directory(), directory);
  EXPECT_EQ(fs::status(directory).permissions(), fs::perms::owner_all);
}

TEST(engine_cache, what_others_could_write_to_is_refused) {
  scratch_directory place;
  fs::permissions(place.path(), fs::perms::all);
  const auto refused = engine_cache::claim(place.path().string(), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code, errc::refused);
  fs::permissions(place.path(), fs::perms::owner_all);
  touch(place.path().string() + "/file");
  EXPECT_EQ(engine_cache::claim(place.path().string() + "/file", {}).failure().code, errc::io);
}
