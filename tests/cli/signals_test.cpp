#include "cli/signals.hpp"

#include <csignal>
#include <thread>

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

namespace fxfarm::cli {
namespace {

bool is_blocked(int signal) {
  sigset_t now;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
  return sigismember(&now, signal) == 1;
}

TEST(stop_order, is_a_signal_to_the_process_and_is_told_again) {
  for (auto [signal, name] : {std::pair{SIGTERM, "SIGTERM"}, std::pair{SIGINT, "SIGINT"}}) {
    auto order = stop_order::take_over();
    ASSERT_TRUE(order);
    std::thread other([signal = signal] { ::kill(::getpid(), signal); });
    EXPECT_EQ((*order)->wait(), name);
    other.join();
    EXPECT_EQ((*order)->wait(), name);
  }
}

TEST(stop_order, can_come_from_inside) {
  auto order = stop_order::take_over();
  ASSERT_TRUE(order);
  std::thread other([&] { (*order)->request("idle"); });
  EXPECT_EQ((*order)->wait(), "idle");
  other.join();
}

TEST(stop_order, the_first_reason_stands) {
  auto order = stop_order::take_over();
  ASSERT_TRUE(order);
  (*order)->request("idle");
  (*order)->request("again");
  EXPECT_EQ((*order)->wait(), "idle");
}

TEST(stop_order, gives_the_signals_back) {
  {
    auto order = stop_order::take_over();
    ASSERT_TRUE(order);
    EXPECT_TRUE(is_blocked(SIGTERM));
    EXPECT_TRUE(is_blocked(SIGINT));
  }
  EXPECT_FALSE(is_blocked(SIGTERM));
  EXPECT_FALSE(is_blocked(SIGINT));
}

}  // namespace
}  // namespace fxfarm::cli
