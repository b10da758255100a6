#include "actors/store.hpp"

#include "actors/system.hpp"
#include "runtime/memory_store.hpp"
#include "tests/runtime/redis_double.hpp"

#include <future>

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 20s;  // nothing is measured here
const std::string key(64, 'a');

std::shared_ptr<const stored> artifact(std::string_view text) {
  return std::make_shared<const stored>(stored{make_blob(to_bytes(text)), {}, "worker-1", ""});
}

// The tiers work on threads of their own, so actors have real ones, too.
class store_actor_test : public ::testing::Test {
protected:
  void SetUp() override {
    shared_tier_options o;
    o.queue_bytes_max = 1000;
    o.queue_entries_max = 10;
    o.read_max = patience;
    o.slow = patience;
    o.breaker = {1, patience, patience};
    shared = std::make_shared<shared_tier>(server.owned_store(500), server.owned_store(500), o, reporter,
                                           shared_tier_events{});
    std::vector<std::unique_ptr<store_tier>> tiers;
    tiers.push_back(std::make_unique<memory_store>(1 << 20, reporter));
    own = std::make_shared<store>(std::move(tiers), reporter);
    actor = system.spawn(store_behavior, own, shared);
  }
  void TearDown() override {
    shared->stop();
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    actor = nullptr;
  }
  void in_redis(std::string_view text) { ASSERT_TRUE(server.store().put(key, *artifact(text))); }
  // The tier that had it and what it had; "none" for a miss.
  std::string read() {
    std::string got = "no answer";
    caf::scoped_actor self{system};
    self->request(actor, caf::duration{patience}, store_read{key})
        .receive(
            [&](const store_found& m) {
              const auto& found = **m.found;
              got = found ? found->tier + " " + std::string(text_of(*found->data)) : "none";
            },
            [&](const caf::error& e) { got = system.render(e); });
    return got;
  }

  redis_double server;
  std::shared_ptr<const store_reporter> reporter = std::make_shared<store_reporter>();
  std::shared_ptr<shared_tier> shared;
  std::shared_ptr<store> own;
  system_config config{2};
  caf::actor_system system{config};
  store_actor actor;
};

}  // namespace

TEST_F(store_actor_test, asks_the_shared_tier_for_what_its_own_miss_and_keeps_what_it_has) {
  in_redis("code");
  EXPECT_EQ(read(), "redis code");
  EXPECT_EQ(read(), "memory code");
}

TEST_F(store_actor_test, a_miss_of_all_tiers_is_a_miss) {
  EXPECT_EQ(read(), "none");
}

TEST_F(store_actor_test, answers_from_its_own_tiers_while_the_shared_one_does_not_answer) {
  std::promise<void> opened;
  std::promise<void> asked;
  server.answer([&](const redis_command&) {  // once: then Redis is left alone
    asked.set_value();
    opened.get_future().wait();
    return result<void>(errc::timeout, "slow");
  });
  auto waiting = std::async(std::launch::async, [this] { return read(); });
  ASSERT_EQ(asked.get_future().wait_for(patience), std::future_status::ready);
  ASSERT_TRUE(own->put(key, *artifact("made meanwhile")));
  EXPECT_EQ(read(), "memory made meanwhile");
  opened.set_value();
  EXPECT_EQ(waiting.get(), "none");
}

TEST_F(store_actor_test, what_is_written_goes_to_all_tiers_and_what_is_removed_is_not_found_again) {
  caf::scoped_actor self{system};
  bool kept = false;
  const auto code = artifact("code");
  // Nothing is to be written yet. The thread sanitizer does not see that a message orders the two threads, since CAF
  // comes without it, but it sees the queue's lock.
  ASSERT_TRUE(shared->flush(std::chrono::steady_clock::now() + patience));
  self->request(actor, caf::duration{patience}, store_write{key, code})
      .receive([&](const store_written& m) { kept = m.outcome->ok(); }, [](const caf::error&) {});
  EXPECT_TRUE(kept);
  ASSERT_TRUE(shared->flush(std::chrono::steady_clock::now() + patience));
  EXPECT_EQ(server.size(), 2u);
  self->send(actor, store_remove{key});
  EXPECT_EQ(read(), "none");
  ASSERT_TRUE(shared->flush(std::chrono::steady_clock::now() + patience));
  EXPECT_EQ(server.size(), 0u);
}
