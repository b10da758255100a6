#include "net/outbox.hpp"

#include <gtest/gtest.h>
#include <poll.h>

namespace fxfarm::net {
namespace {

struct command {
  int what = 0;
  std::string peer;
};

std::vector<int> numbers(const std::vector<command>& commands) {
  std::vector<int> out;
  for (const auto& c : commands) out.push_back(c.what);
  return out;
}

bool is_readable(int fd) {
  pollfd ready{fd, POLLIN, 0};
  return ::poll(&ready, 1, 0) == 1;
}

TEST(outbox, wakes_until_it_is_emptied) {
  outbox<command> box;
  EXPECT_FALSE(is_readable(box.fd()));
  box.push({1, {}});
  box.push_message({2, "a"}, &command::peer);
  EXPECT_TRUE(is_readable(box.fd()));
  std::vector<command> commands{{9, {}}};
  std::set<std::string> overrun{"old"};
  box.take(commands, overrun);
  EXPECT_EQ(numbers(commands), (std::vector{1, 2}));
  EXPECT_TRUE(overrun.empty());
  EXPECT_FALSE(is_readable(box.fd()));
  box.take(commands, overrun);
  EXPECT_TRUE(commands.empty());
}

TEST(outbox, held_it_wakes_when_it_is_let_go) {
  outbox<command> box;
  std::vector<command> commands;
  std::set<std::string> overrun;
  box.hold();
  box.hold();
  box.push_message({1, "a"}, &command::peer);
  box.let_go();
  EXPECT_FALSE(is_readable(box.fd())) << "somebody still holds it";
  box.let_go();
  EXPECT_TRUE(is_readable(box.fd()));
  box.take(commands, overrun);
  box.hold();
  box.push_message({2, "a"}, &command::peer);
  box.take(commands, overrun);
  EXPECT_EQ(numbers(commands), std::vector{2}) << "a thread that is awake need not be woken";
  box.let_go();
  EXPECT_FALSE(is_readable(box.fd()));
  box.push({3, {}});
  EXPECT_TRUE(is_readable(box.fd()));
}

TEST(outbox, drops_messages_past_its_bound_and_tells_whose_but_takes_every_other_command) {
  outbox<command> box(2);
  std::vector<command> commands;
  std::set<std::string> overrun;
  for (int i = 0; i < 3; ++i) box.push_message({i, "a"}, &command::peer);
  box.push({7, {}});
  for (int i = 0; i < 3; ++i) box.push_message({i, "b"}, &command::peer);
  box.take(commands, overrun);
  EXPECT_EQ(numbers(commands), (std::vector{0, 1, 7}));
  EXPECT_EQ(overrun, (std::set<std::string>{"a", "b"}));
  box.push_message({3, "a"}, &command::peer);
  box.take(commands, overrun);
  EXPECT_EQ(numbers(commands), std::vector{3});
  EXPECT_TRUE(overrun.empty());
}

}  // namespace
}  // namespace fxfarm::net
