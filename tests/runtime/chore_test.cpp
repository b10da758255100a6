#include "runtime/chore.hpp"

#include <atomic>
#include <future>

#include <gtest/gtest.h>

namespace fxfarm {
namespace {

using namespace std::chrono_literals;

TEST(chore, is_done_again_and_again) {
  std::promise<void> thrice;
  std::atomic<int> times{0};
  const chore c(1ms, [&] {
    if (++times == 3) thrice.set_value();
  });
  EXPECT_EQ(thrice.get_future().wait_for(20s), std::future_status::ready);
}

TEST(chore, that_is_long_from_being_due_ends_at_once) {
  std::atomic<int> times{0};
  {
    const chore c(24h, [&] { ++times; });
  }
  EXPECT_EQ(times, 0);
}

TEST(chore, is_not_under_way_any_longer_when_it_is_gone) {
  std::promise<void> begun, go_on;
  std::atomic<bool> done{false};
  auto c = std::make_unique<chore>(1ms, [&, first = true]() mutable {
    if (!std::exchange(first, false)) return;
    begun.set_value();
    go_on.get_future().wait();
    done = true;
  });
  begun.get_future().wait();
  auto gone = std::async(std::launch::async, [&] {
    c.reset();
    return done.load();
  });
  go_on.set_value();
  EXPECT_TRUE(gone.get());
}

}  // namespace
}  // namespace fxfarm
