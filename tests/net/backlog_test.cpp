#include "net/backlog.hpp"

#include <gtest/gtest.h>
#include <poll.h>

namespace fxfarm::net {
namespace {

bool is_awake(backlog& b) {
  pollfd fd{b.fd(), POLLIN, 0};
  return ::poll(&fd, 1, 0) == 1;
}

TEST(backlog, is_full_of_what_is_held_until_that_is_let_go) {
  backlog b(100);
  EXPECT_FALSE(b.is_full());
  auto one = b.hold(60);
  EXPECT_FALSE(b.is_full());
  EXPECT_TRUE(b.is_full(40));
  auto other = b.hold(40);
  EXPECT_TRUE(b.is_full());
  const auto copy = one;
  one.reset();
  EXPECT_TRUE(b.is_full()) << "it is held as long as anybody has it";
  other.reset();
  EXPECT_FALSE(b.is_full());
  EXPECT_EQ(b.held(), 60u);
}

TEST(backlog, wakes_whoever_has_found_it_full_and_nobody_else) {
  backlog b(100);
  auto one = b.hold(50), other = b.hold(100);
  one.reset();
  other.reset();
  EXPECT_FALSE(is_awake(b)) << "nobody has looked";
  one = b.hold(150);
  other = b.hold(50);
  ASSERT_TRUE(b.is_full());
  other.reset();
  EXPECT_FALSE(is_awake(b)) << "it is still full";
  one.reset();
  EXPECT_TRUE(is_awake(b));
  b.take_wake();
  EXPECT_FALSE(is_awake(b));
}

TEST(backlog, may_be_gone_before_what_it_has_counted) {
  std::shared_ptr<const void> held;
  {
    backlog b(1);
    held = b.hold(10);
    ASSERT_TRUE(b.is_full());
  }
  held.reset();
}

}  // namespace
}  // namespace fxfarm::net
