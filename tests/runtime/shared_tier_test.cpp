#include "runtime/shared_tier.hpp"

#include "redis_double.hpp"
#include "signers.hpp"

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 20s;  // nothing is measured here

std::string key_of(int i) {
  auto digits = std::to_string(i);
  return std::string(64 - digits.size(), '0') + digits;
}

std::shared_ptr<const stored> artifact(std::string_view text) {
  return std::make_shared<const stored>(stored{make_blob(to_bytes(text)), {}, "worker-1", ""});
}

// Counts what a tier tells, and waits for it.
class told {
public:
  std::shared_ptr<const store_reporter> reporter() {
    auto r = std::make_shared<store_reporter>();
    r->queried = [this](std::string_view) { add("queried"); };
    r->hit = [this](std::string_view) { add("hit"); };
    r->untrusted = [this](std::string_view, std::string_view reason, const error*) {
      add("untrusted " + std::string(reason));
    };
    r->failed = [this](std::string_view, const error& why) { add("failed " + std::string(to_string(why.code))); };
    return r;
  }
  shared_tier_events events() {
    shared_tier_events e;
    e.breaker = [this](breaker_state state, const error&) { add("breaker " + std::string(to_string(state))); };
    e.queue = [this](std::uint64_t, std::size_t entries) { set("queue", static_cast<int>(entries)); };
    e.written = [this] { add("written"); };
    e.dropped = [this](std::string_view reason) { add("dropped " + std::string(reason)); };
    e.took = [this](std::string_view operation, double) { add("took " + std::string(operation)); };
    return e;
  }
  int count(const std::string& what) {
    std::lock_guard lock(mutex_);
    return counts_[what];
  }
  bool reaches(const std::string& what, int n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return counts_[what] >= n; });
  }

private:
  void add(const std::string& what) {
    std::lock_guard lock(mutex_);
    ++counts_[what];
    changed_.notify_all();
  }
  void set(const std::string& what, int n) {
    std::lock_guard lock(mutex_);
    counts_[what] = n;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, int> counts_;
};

// A door that somebody stands at, until it is opened for good.
class gate {
public:
  void pass() {
    {
      std::lock_guard lock(mutex_);
      waits_ = true;
    }
    came_.notify_all();
    opened_.wait();
  }
  void open() { promise_.set_value(); }
  bool somebody_waits() {
    std::unique_lock lock(mutex_);
    return came_.wait_for(lock, 20s, [this] { return waits_; });
  }

private:
  std::mutex mutex_;
  std::condition_variable came_;
  bool waits_ = false;
  std::promise<void> promise_;
  std::shared_future<void> opened_{promise_.get_future()};
};

class shared_tier_test : public testing::Test {
protected:
  void start(std::uint64_t queue_bytes = 1000, std::chrono::milliseconds slow = patience,
             std::chrono::milliseconds left_alone = 1ms) {
    shared_tier_options o;
    o.queue_bytes_max = queue_bytes;
    o.queue_entries_max = 100;
    o.read_max = patience;
    o.slow = slow;
    o.breaker = {2, left_alone, 2 * left_alone};
    o.signatures = signatures;
    o.only_reads = only_reads;
    tier = std::make_unique<shared_tier>(server.owned_store(500), server.owned_store(500), o, t.reporter(), t.events());
  }
  void answer(std::function<result<void>(const redis_command&)> how) { server.answer(std::move(how)); }
  std::optional<stored> get(int i) {
    auto promise = std::make_shared<std::promise<std::optional<stored>>>();
    auto future = promise->get_future();
    tier->get(key_of(i), [promise](std::optional<stored> found) { promise->set_value(std::move(found)); });
    if (future.wait_for(patience) == std::future_status::ready) return future.get();
    ADD_FAILURE() << "no answer";
    return std::nullopt;
  }
  bool flush() { return tier->flush(std::chrono::steady_clock::now() + patience); }

  redis_double server;
  std::shared_ptr<const signature_check> signatures;
  bool only_reads = false;
  told t;
  std::unique_ptr<shared_tier> tier;
};

result<void> down(const redis_command&) {
  return {errc::unreachable, "down"};
}

}  // namespace

TEST_F(shared_tier_test, another_one_finds_what_was_written) {
  start();
  tier->put(key_of(1), artifact("code"));
  ASSERT_TRUE(flush());
  tier.reset();
  start();
  auto found = get(1);
  ASSERT_TRUE(found);
  EXPECT_EQ(text_of(*found->data), "code");
  EXPECT_EQ(found->tier, "redis");
  EXPECT_FALSE(get(2));
  EXPECT_EQ(t.count("written"), 1);
  EXPECT_EQ(t.count("queried"), 2);
  EXPECT_EQ(t.count("hit"), 1);
  EXPECT_EQ(t.count("queue"), 0);
  EXPECT_EQ(t.count("took get"), 2);
  EXPECT_EQ(t.count("took put"), 1);
}

TEST_F(shared_tier_test, what_waits_to_be_written_is_found_and_what_waits_to_be_removed_is_not) {
  gate g;
  answer([&](const redis_command& c) {
    if (c[0] == "SET") g.pass();
    return result<void>();
  });
  start();
  tier->put(key_of(1), artifact("code"));
  ASSERT_TRUE(g.somebody_waits());
  tier->put(key_of(2), artifact("more"));
  EXPECT_EQ(text_of(*get(2)->data), "more");
  tier->remove(key_of(2));
  EXPECT_FALSE(get(2));
  EXPECT_EQ(t.count("queried"), 1);
  g.open();
  EXPECT_TRUE(flush());
  EXPECT_TRUE(t.reaches("took remove", 1));
  EXPECT_EQ(t.count("written"), 1);
}

TEST_F(shared_tier_test, nobody_waits_for_a_write_and_what_does_not_fit_is_dropped_and_counted) {
  gate g;
  answer([&](const redis_command& c) {
    if (c[0] == "SET") g.pass();
    return result<void>();
  });
  start(10);
  tier->put(key_of(1), artifact("0123456789"));
  ASSERT_TRUE(g.somebody_waits());
  tier->put(key_of(2), artifact("x"));
  EXPECT_EQ(t.count("dropped full"), 1);
  g.open();
  EXPECT_TRUE(flush());
  EXPECT_EQ(t.count("written"), 1);
}

TEST_F(shared_tier_test, an_artifact_beyond_the_bound_is_skipped_and_counted_and_no_failure) {
  start();
  for (int i = 0; i < 5; ++i) tier->put(key_of(i), artifact(std::string(501, 'x')));
  ASSERT_TRUE(flush());
  EXPECT_EQ(t.count("dropped too_large") + t.count("dropped full"), 5);
  EXPECT_GT(t.count("dropped too_large"), 0);
  EXPECT_EQ(t.count("failed too_large"), 0);
  EXPECT_EQ(t.count("breaker open"), 0);
}

TEST_F(shared_tier_test, a_server_without_room_refuses_one_write_and_is_not_left_alone) {
  answer([](const redis_command& c) { return c[0] == "SET" ? result<void>(errc::busy, "OOM") : result<void>(); });
  start();
  for (int i = 0; i < 3; ++i) tier->put(key_of(i), artifact("x"));
  ASSERT_TRUE(flush());
  EXPECT_EQ(t.count("dropped refused"), 3);
  EXPECT_TRUE(t.reaches("failed busy", 3));
  EXPECT_EQ(t.count("breaker open"), 0);
}

TEST_F(shared_tier_test, a_server_that_is_down_is_left_alone_and_written_to_when_it_is_back) {
  std::atomic<bool> up = false;
  std::atomic<int> pings = 0;
  answer([&](const redis_command& c) {
    if (c[0] == "PING") ++pings;
    return up ? result<void>() : down(c);
  });
  start();
  EXPECT_FALSE(get(1));
  EXPECT_FALSE(get(1));
  EXPECT_TRUE(t.reaches("breaker open", 1));
  EXPECT_FALSE(get(1));
  tier->put(key_of(2), artifact("kept"));
  EXPECT_FALSE(flush()) << "there is no point in waiting";
  EXPECT_TRUE(t.reaches("took ping", 3));
  EXPECT_EQ(t.count("queried"), 2) << "not asked while it is left alone";
  EXPECT_EQ(t.count("failed unreachable"), 2) << "and probes are no failures of an operation";
  up = true;
  EXPECT_TRUE(t.reaches("breaker closed", 2));
  EXPECT_TRUE(t.reaches("written", 1));
  EXPECT_TRUE(get(2));
}

TEST_F(shared_tier_test, slow_answers_count_as_failures_and_are_used) {
  // Everything is slow; and nobody looks whether it still is, which could close the breaker before it is told of.
  start(1000, -1ms, 1h);
  tier->put(key_of(1), artifact("x"));
  EXPECT_TRUE(t.reaches("written", 1));
  EXPECT_TRUE(t.reaches("took put", 1));
  get(2);
  EXPECT_TRUE(t.reaches("breaker open", 1));
  EXPECT_EQ(t.count("failed timeout"), 0);
}

TEST_F(shared_tier_test, a_write_that_fails_again_and_again_is_given_up) {
  answer([](const redis_command& c) { return c[0] == "SET" ? down(c) : result<void>(); });
  start();
  tier->put(key_of(1), artifact("x"));
  EXPECT_TRUE(t.reaches("dropped failed", 1));
  EXPECT_TRUE(t.reaches("failed unreachable", limits::redis_write_attempts_max));
  EXPECT_TRUE(t.reaches("breaker closed", 2)) << "pings are answered";
}

TEST_F(shared_tier_test, corrupt_artifacts_are_misses_that_are_counted_and_no_reason_to_leave_it_alone) {
  start();
  for (int i = 0; i < 3; ++i) tier->put(key_of(i), artifact("code"));
  ASSERT_TRUE(flush());
  {
    std::lock_guard lock(server.mutex);
    for (auto& [name, value] : server.values) {
      if (name.ends_with(":0")) value[0] ^= 1;
    }
  }
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(get(i));
  EXPECT_EQ(t.count("failed corrupt"), 3);
  EXPECT_EQ(t.count("breaker open"), 0);
  EXPECT_FALSE(get(0));
  EXPECT_EQ(t.count("failed corrupt"), 3);
}

TEST_F(shared_tier_test, its_end_answers_who_waits_and_drops_what_is_queued) {
  gate g;
  answer([&](const redis_command&) {
    g.pass();
    return down({});
  });
  start();
  tier->put(key_of(1), artifact("x"));
  tier->put(key_of(2), artifact("x"));
  ASSERT_TRUE(g.somebody_waits());
  std::atomic<int> answered = 0;
  for (int i = 3; i < 6; ++i) tier->get(key_of(i), [&](std::optional<stored> found) { answered += found ? 10 : 1; });
  g.open();
  tier->stop();
  EXPECT_EQ(answered, 3);
  EXPECT_EQ(t.count("written"), 0);
  EXPECT_EQ(t.count("queue"), 0);
  tier->put(key_of(7), artifact("x"));
  EXPECT_EQ(t.count("dropped shutdown"), 3);
  tier->get(key_of(8), [&](std::optional<stored> found) { answered += found ? 10 : 1; });
  EXPECT_EQ(answered, 4);
}

TEST_F(shared_tier_test, what_others_have_written_unsigned_is_a_miss_and_is_removed) {
  using namespace testing_signers;
  signer_list list;
  const auto signer = new_signer(), stranger = new_signer();
  list.accept({signer.public_key()});
  signatures = list.check();
  const auto made = [&](const artifact_signer& who, int key, std::string_view text) {
    return stored{make_blob(to_bytes(text)), {}, "w", "", signed_by(who, key_of(key), view_of("code"))};
  };
  auto writer = server.store();
  ASSERT_TRUE(writer.put(key_of(1), *artifact("code")));
  ASSERT_TRUE(writer.put(key_of(2), made(stranger, 2, "code")));
  ASSERT_TRUE(writer.put(key_of(3), made(signer, 3, "evil")));
  ASSERT_TRUE(writer.put(key_of(4), made(signer, 4, "code")));
  start();
  for (const int i : {1, 2, 3}) EXPECT_FALSE(get(i)) << i;
  ASSERT_TRUE(get(4));
  EXPECT_EQ(get(4)->signature.signer, signer.public_key());
  ASSERT_TRUE(flush());
  EXPECT_EQ(server.size(), 2u) << "head and data of the one that is signed";
  for (const auto* reason : {"unsigned", "unknown_signer", "bad_signature"}) {
    EXPECT_EQ(t.count(std::string("untrusted ") + reason), 1) << reason;
  }
  EXPECT_EQ(t.count("hit"), 2);
  EXPECT_EQ(t.count("breaker open"), 0);

  // Once its signer is accepted no longer, the one that was good goes as the others have.
  list.accept({});
  EXPECT_FALSE(get(4));
  ASSERT_TRUE(flush());
  EXPECT_EQ(server.size(), 0u);
  EXPECT_EQ(t.count("untrusted unknown_signer"), 2);
}

TEST_F(shared_tier_test, one_that_only_reads_leaves_there_what_it_does_not_trust) {
  testing_signers::signer_list list;
  signatures = list.check();
  only_reads = true;
  ASSERT_TRUE(server.store().put(key_of(1), *artifact("code")));
  start();
  EXPECT_FALSE(get(1));
  ASSERT_TRUE(flush());
  EXPECT_EQ(server.size(), 2u) << "its head and its data";
  EXPECT_EQ(t.count("untrusted unsigned"), 1);
}

TEST_F(shared_tier_test, what_nobody_would_take_from_there_is_not_written) {
  testing_signers::signer_list list;
  signatures = list.check();
  start();
  tier->put(key_of(1), artifact("code"));
  ASSERT_TRUE(flush());
  EXPECT_EQ(server.size(), 0u);
  EXPECT_EQ(t.count("written"), 0);
}
