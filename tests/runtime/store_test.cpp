#include "runtime/store.hpp"

#include "runtime/memory_store.hpp"
#include "scratch_directory.hpp"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

std::string key_of(int i) {
  auto digits = std::to_string(i);
  return std::string(64 - digits.size(), '0') + digits;
}

stored artifact(std::string_view text) {
  return {make_blob(to_bytes(text)), {{"codegen", 1.5}, {"lowering", 0.25}}, "worker-1", ""};
}

struct told {
  std::map<std::string, int> queried, hit, failed, evicted;
  std::map<std::string, std::uint64_t> bytes;

  store_reporter reporter() {
    store_reporter r;
    r.queried = [this](std::string_view tier) { ++queried[std::string(tier)]; };
    r.hit = [this](std::string_view tier) { ++hit[std::string(tier)]; };
    r.failed = [this](std::string_view tier, const error&) { ++failed[std::string(tier)]; };
    r.evicted = [this](std::string_view tier, std::uint64_t) { ++evicted[std::string(tier)]; };
    r.resized = [this](std::string_view tier, std::uint64_t n) { bytes[std::string(tier)] = n; };
    return r;
  }
};

// A tier whose machine is down.
class broken_tier final : public store_tier {
public:
  std::string_view name() const override { return "broken"; }
  result<std::optional<stored>> get(const std::string&) override { return down(); }
  result<void> put(const std::string&, const stored&) override { return down(); }
  result<bool> remove(const std::string&) override { return down(); }
  result<std::vector<stored_entry>> list() override { return down(); }

private:
  static error down() { return {errc::unreachable, "down"}; }
};

std::unique_ptr<memory_store> memory_of(std::size_t bytes) {
  return std::make_unique<memory_store>(bytes, std::make_shared<store_reporter>());
}

}  // namespace

TEST(store, gives_back_what_was_put_with_its_attributes_and_tier) {
  scratch_directory dir;
  auto s = store::open({dir.path(), 1 << 20, 1 << 20});
  ASSERT_TRUE(s);
  ASSERT_TRUE((*s)->put(key_of(1), artifact("code")));
  auto found = (*s)->get(key_of(1));
  ASSERT_TRUE(found && *found);
  EXPECT_EQ(text_of(*(*found)->data), "code");
  EXPECT_EQ((*found)->phases, artifact("").phases);
  EXPECT_EQ((*found)->made_by, "worker-1");
  EXPECT_EQ((*found)->tier, "memory");
}

TEST(store, at_once_there_is_what_memory_has_and_only_a_hit_counts) {
  scratch_directory dir;
  ASSERT_TRUE((*store::open({dir.path(), 1 << 20, 1 << 20}))->put(key_of(1), artifact("code")));
  told t;
  auto s = store::open({dir.path(), 1 << 20, 1 << 20}, t.reporter());
  EXPECT_FALSE((*s)->get_at_once(key_of(1))) << "it is on disk";
  EXPECT_TRUE(t.queried.empty());
  ASSERT_TRUE(*(*s)->get(key_of(1)));
  const auto found = (*s)->get_at_once(key_of(1));
  ASSERT_TRUE(found);
  EXPECT_EQ(text_of(*found->data), "code");
  EXPECT_EQ(found->tier, "memory");
  EXPECT_EQ(t.queried, (std::map<std::string, int>{{"memory", 2}, {"disk", 1}}));
  EXPECT_EQ(t.hit, (std::map<std::string, int>{{"memory", 1}, {"disk", 1}}));
}

TEST(store, without_a_memory_tier_nothing_is_there_at_once) {
  scratch_directory dir;
  auto s = store::open({dir.path(), 1 << 20, 0});
  ASSERT_TRUE((*s)->put(key_of(1), artifact("code")));
  EXPECT_FALSE((*s)->get_at_once(key_of(1)));
}

TEST(store, a_new_process_finds_it_on_disk_and_then_in_memory) {
  scratch_directory dir;
  ASSERT_TRUE((*store::open({dir.path(), 1 << 20, 1 << 20}))->put(key_of(1), artifact("code")));
  told t;
  auto s = store::open({dir.path(), 1 << 20, 1 << 20}, t.reporter());
  EXPECT_EQ((**(*s)->get(key_of(1))).tier, "disk");
  EXPECT_EQ((**(*s)->get(key_of(1))).tier, "memory");
  EXPECT_EQ((**(*s)->get(key_of(1))).made_by, "worker-1");
  EXPECT_EQ(t.queried, (std::map<std::string, int>{{"memory", 3}, {"disk", 1}}));
  EXPECT_EQ(t.hit, (std::map<std::string, int>{{"memory", 2}, {"disk", 1}}));
}

TEST(store, a_miss_is_no_error) {
  scratch_directory dir;
  auto s = store::open({dir.path(), 1 << 20, 1 << 20});
  auto found = (*s)->get(key_of(1));
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
}

TEST(store, refuses_what_is_no_key) {
  scratch_directory dir;
  auto s = store::open({dir.path(), 1 << 20, 1 << 20});
  for (const auto& key : {std::string(), std::string("../../etc/passwd"), std::string(64, 'X')}) {
    EXPECT_EQ((*s)->get(key).failure().code, errc::bad_input);
    EXPECT_EQ((*s)->put(key, artifact("x")).failure().code, errc::bad_input);
    EXPECT_EQ((*s)->remove(key).failure().code, errc::bad_input);
  }
  EXPECT_EQ((*s)->put(key_of(1), stored{}).failure().code, errc::bad_input);
}

TEST(store, without_any_tier_is_a_bad_configuration) {
  EXPECT_EQ(store::open({"", 0, 0}).failure().code, errc::bad_config);
}

TEST(store, a_tier_that_fails_is_reported_and_skipped) {
  told t;
  auto reporter = std::make_shared<const store_reporter>(t.reporter());
  for (bool broken_is_faster : {true, false}) {
    std::vector<std::unique_ptr<store_tier>> tiers;
    tiers.push_back(memory_of(1 << 20));
    tiers.insert(broken_is_faster ? tiers.begin() : tiers.end(), std::make_unique<broken_tier>());
    store s(std::move(tiers), reporter);
    t.failed.clear();
    ASSERT_TRUE(s.put(key_of(1), artifact("code")));
    EXPECT_EQ(t.failed["broken"], 1);
    ASSERT_TRUE(*s.get(key_of(1)));
    EXPECT_EQ(s.list().size(), 1u);
    EXPECT_FALSE(s.remove(key_of(1))) << "it may come back from the broken tier";
    EXPECT_FALSE(*s.get(key_of(1)));
  }
}

TEST(store, put_fails_when_no_tier_takes_it) {
  std::vector<std::unique_ptr<store_tier>> tiers;
  tiers.push_back(std::make_unique<broken_tier>());
  store s(std::move(tiers), std::make_shared<store_reporter>());
  EXPECT_EQ(s.put(key_of(1), artifact("code")).failure().code, errc::unreachable);
}

TEST(store, what_is_removed_is_gone_from_every_tier) {
  scratch_directory dir;
  auto s = store::open({dir.path(), 1 << 20, 1 << 20});
  ASSERT_TRUE((*s)->put(key_of(1), artifact("code")));
  EXPECT_EQ((*s)->list().size(), 2u);
  EXPECT_TRUE(*(*s)->remove(key_of(1)));
  EXPECT_FALSE(*(*s)->get(key_of(1)));
  EXPECT_TRUE((*s)->list().empty());
  EXPECT_FALSE(*(*s)->remove(key_of(1)));
}

TEST(memory_store, makes_room_by_dropping_what_was_used_least_recently) {
  told t;
  memory_store m(3 * 1256, std::make_shared<store_reporter>(t.reporter()));  // three of 1000 bytes and their overhead
  const auto big = artifact(std::string(1000, 'x'));
  for (int i : {1, 2, 3}) ASSERT_TRUE(m.put(key_of(i), big));
  ASSERT_TRUE(*m.get(key_of(1)));
  ASSERT_TRUE(m.put(key_of(4), big));
  EXPECT_FALSE(*m.get(key_of(2)));
  for (int i : {1, 3, 4}) EXPECT_TRUE(*m.get(key_of(i))) << i;
  EXPECT_EQ(t.evicted["memory"], 1);
  EXPECT_EQ(t.bytes["memory"], 3 * 1256u);
}

TEST(memory_store, counts_a_replaced_artifact_once) {
  told t;
  memory_store m(1 << 20, std::make_shared<store_reporter>(t.reporter()));
  ASSERT_TRUE(m.put(key_of(1), artifact(std::string(1000, 'x'))));
  ASSERT_TRUE(m.put(key_of(1), artifact(std::string(10, 'y'))));
  EXPECT_EQ(t.bytes["memory"], 266u);
  EXPECT_EQ(text_of(*(**m.get(key_of(1))).data), std::string(10, 'y'));
  ASSERT_TRUE(*m.remove(key_of(1)));
  EXPECT_EQ(t.bytes["memory"], 0u);
}

TEST(memory_store, keeps_what_it_has_when_something_larger_than_itself_comes) {
  auto m = memory_of(2000);
  ASSERT_TRUE(m->put(key_of(1), artifact("small")));
  EXPECT_EQ(m->put(key_of(2), artifact(std::string(2000, 'x'))).failure().code, errc::too_large);
  EXPECT_TRUE(*m->get(key_of(1)));
}

TEST(store, an_artifact_too_large_for_memory_is_served_from_disk) {
  scratch_directory dir;
  told t;
  auto s = store::open({dir.path(), 1 << 20, 1000}, t.reporter());
  ASSERT_TRUE((*s)->put(key_of(1), artifact(std::string(2000, 'x'))));
  EXPECT_EQ((**(*s)->get(key_of(1))).tier, "disk");
  EXPECT_TRUE(t.failed.empty()) << "the memory tier works as it should";
}

TEST(store, is_used_by_several_threads_at_once) {
  scratch_directory dir;
  auto s = store::open({dir.path(), 40'000, 10'000});
  ASSERT_TRUE(s);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const auto key = key_of((i + t) % 20);
        if (!(*s)->put(key, artifact(key + std::string(1000, 'x')))) ++wrong;
        auto found = (*s)->get(key_of((i * 7) % 20));
        if (!found || (*found && text_of(*(*found)->data) != key_of((i * 7) % 20) + std::string(1000, 'x'))) ++wrong;
        if (i % 10 == 0) (void)(*s)->list();
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}
