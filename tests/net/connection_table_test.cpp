#include "net/connection_table.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

constexpr time_point start{};

connection_bounds bounds(std::size_t per_key, std::size_t per_address) {
  return {per_key, per_address, 5s};
}

std::vector<int> due(connection_table& table, time_point now) {
  std::vector<int> out;
  for (const auto& one : table.take_due(now)) out.push_back(one.descriptor);
  return out;
}

// A connection of "a" whose handshake is over, with the key "k"; its ticket.
connection_table::ticket comes(connection_table& table, int descriptor, ino_t inode, time_point now) {
  EXPECT_TRUE(table.accepted(descriptor, inode, "a", now));
  const auto given = table.let_in("k", now);
  EXPECT_TRUE(given);
  return given.value_or(0);
}

TEST(connection_table, a_connection_has_the_time_of_a_handshake_and_as_long_again_to_say_hello) {
  connection_table table(bounds(9, 9));
  EXPECT_FALSE(table.next_deadline());
  EXPECT_TRUE(table.accepted(7, 70, "a", start));
  EXPECT_TRUE(table.accepted(8, 80, "a", start + 1s));
  EXPECT_EQ(table.next_deadline(), start + 10s);
  EXPECT_EQ(due(table, start + 10s - 1ns), std::vector<int>());
  const auto first = table.take_due(start + 10s);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].descriptor, 7);
  EXPECT_EQ(first[0].inode, 70u);
  EXPECT_FALSE(first[0].ever_a_peer);
  EXPECT_EQ(due(table, start + 1h), std::vector<int>{8});
  EXPECT_EQ(due(table, start + 2h), std::vector<int>()) << "each once";
  EXPECT_EQ(table.size(), 0u);
}

TEST(connection_table, a_peer_stays_and_has_some_time_to_go_when_it_is_none_any_longer) {
  connection_table table(bounds(9, 9));
  const auto given = comes(table, 7, 70, start);
  table.joined(7, given);
  EXPECT_FALSE(table.next_deadline());
  EXPECT_EQ(due(table, start + 1h), std::vector<int>());
  table.left(7, given, start + 1h);
  EXPECT_EQ(table.next_deadline(), start + 1h + 5s);
  table.joined(7, given);  // it has said hello once more
  EXPECT_FALSE(table.next_deadline());
  table.left(7, given, start + 2h);
  const auto gone = table.take_due(start + 2h + 5s);
  ASSERT_EQ(gone.size(), 1u);
  EXPECT_TRUE(gone[0].ever_a_peer);
}

TEST(connection_table, who_has_gone_is_not_hung_up_on) {
  connection_table table(bounds(9, 9));
  table.accepted(7, 70, "a", start);
  table.ended(7);
  table.ended(7);
  EXPECT_EQ(due(table, start + 1h), std::vector<int>());
}

// What the router tells of a connection when another one has its descriptor: a hello that it has read late, a peer that
// it finds to be gone. With the end of the first told or not, for ZeroMQ closes some without a word.
TEST(connection_table, what_one_connection_was_does_not_touch_the_next_one_that_has_its_descriptor) {
  for (const bool told : {true, false}) {
    for (const bool heard_late : {true, false}) {
      SCOPED_TRACE(testing::Message() << "its end is told: " << told << ", its hello is read late: " << heard_late);
      connection_table table(bounds(9, 9));
      const auto first = comes(table, 7, 70, start);
      const auto says_hello = [&] {
        table.heard(7, first);
        table.joined(7, first);
      };
      if (!heard_late) says_hello();
      if (told) table.ended(7);
      const auto second = comes(table, 7, 71, start + 1s);
      if (heard_late) says_hello();
      EXPECT_EQ(table.size(), 1u);
      EXPECT_EQ(table.unheard_of("a"), 1u) << "the second has said nothing";
      EXPECT_EQ(table.next_deadline(), start + 11s);
      table.left(7, first, start + 2s);
      EXPECT_EQ(table.next_deadline(), start + 11s) << "no later for it";
      EXPECT_EQ(table.of_key("k"), 1u) << "the first has gone, and its ticket";

      table.heard(7, second);
      table.joined(7, second);
      table.left(7, first, start + 3s);
      EXPECT_FALSE(table.next_deadline());
      table.ended(7);
      table.left(7, second, start + 3s);
      EXPECT_EQ(table.of_key("k"), 0u);
    }
  }
}

TEST(connection_table, who_has_the_descriptor_of_a_peer_that_has_gone_was_none_itself) {
  connection_table table(bounds(9, 9));
  const auto first = comes(table, 7, 70, start);
  table.joined(7, first);
  table.ended(7);
  comes(table, 7, 71, start);
  table.left(7, first, start);
  const auto gone = table.take_due(start + 10s);
  ASSERT_EQ(gone.size(), 1u);
  EXPECT_EQ(gone[0].inode, 71u);
  EXPECT_FALSE(gone[0].ever_a_peer);
}

// The one before it sends no more, but what it has sent is read late; then the count of their key would be one too low
// with the second one there, or too high when it has gone.
TEST(connection_table, a_late_hello_does_not_take_the_ticket_from_the_connection_that_has_its_descriptor) {
  connection_table table(bounds(9, 9));
  const auto first = comes(table, 7, 70, start);
  table.ended(7);
  const auto second = comes(table, 7, 71, start);
  table.heard(7, second);
  table.heard(7, first);
  EXPECT_EQ(table.of_key("k"), 1u) << "the first is known to have gone";
  table.ended(7);
  EXPECT_EQ(table.of_key("k"), 0u);
}

TEST(connection_table, a_connection_is_heard_for_the_first_time_once_and_while_it_is_there) {
  connection_table table(bounds(9, 9));
  const auto first = comes(table, 7, 70, start);
  EXPECT_TRUE(table.heard(7, first));
  EXPECT_FALSE(table.heard(7, first));
  table.joined(7, first);
  table.left(7, first, start);
  EXPECT_FALSE(table.heard(7, first));
  const auto second = comes(table, 8, 80, start);
  table.ended(8);
  EXPECT_FALSE(table.heard(8, second));
}

TEST(connection_table, a_connection_without_a_ticket_is_nobodys) {
  connection_table table(bounds(9, 9));
  table.accepted(7, 70, "a", start);
  EXPECT_FALSE(table.heard(7, 0));
  table.joined(7, 0);
  EXPECT_EQ(due(table, start + 10s), std::vector<int>{7});
}

TEST(connection_table, a_key_has_so_many_connections_whether_they_say_hello_or_not) {
  connection_table table(bounds(2, 9));
  table.accepted(7, 70, "", start);
  const auto first = table.let_in("a", start), second = table.let_in("a", start);
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, *second);
  EXPECT_FALSE(table.let_in("a", start));
  EXPECT_TRUE(table.let_in("b", start)) << "another key has its own";

  // One says hello and stays; the other has been hung up on by the time that its ticket is void.
  table.heard(7, *first);
  table.joined(7, *first);
  EXPECT_FALSE(table.let_in("a", start + 10s - 1ns));
  EXPECT_TRUE(table.let_in("a", start + 10s));
  EXPECT_EQ(table.of_key("a"), 2u);
}

TEST(connection_table, a_connection_of_which_something_was_heard_makes_room_when_it_ends) {
  for (const bool a_peer : {true, false}) {
    connection_table table(bounds(1, 9));
    const auto given = comes(table, 7, 70, start);
    table.heard(7, given);
    if (a_peer) table.joined(7, given);
    EXPECT_FALSE(table.let_in("k", start));
    table.ended(7);
    EXPECT_EQ(table.of_key("k"), a_peer ? 1u : 0u);
    if (a_peer) table.left(7, given, start);
    EXPECT_TRUE(table.let_in("k", start));
    // What the router says once more changes nothing.
    table.left(7, given, start);
    EXPECT_EQ(table.of_key("k"), 1u);
  }
}

TEST(connection_table, who_is_a_peer_now_and_then_holds_its_connection_all_the_time) {
  connection_table table(bounds(1, 9));
  const auto given = comes(table, 7, 70, start);
  table.heard(7, given);
  time_point now = start;
  for (int i = 0; i < 10; ++i, now += 4s) {
    table.joined(7, given);
    table.left(7, given, now);
    EXPECT_FALSE(table.let_in("k", now + 4s));
  }
  EXPECT_EQ(due(table, now + 1s), std::vector<int>{7});
  EXPECT_TRUE(table.let_in("k", now + 1s));
}

// Ranks that come back at once, while nobody has told the coordinator that their connections are cut: each makes room
// for the next one.
TEST(connection_table, a_peer_that_has_come_by_a_newer_connection_holds_one_and_the_older_is_soon_hung_up_on) {
  connection_table table(bounds(3, 9));
  std::vector<connection_table::ticket> before;
  for (int i = 0; i < 2; ++i) {
    before.push_back(comes(table, i, 10, start));
    table.joined(i, before.back());
  }
  for (int i = 0; i < 2; ++i) {
    const auto again = comes(table, 10 + i, 20, start);
    table.left(i, before[i], start);
    table.replaced(i, before[i], start);
    table.replaced(i, before[i], start);
    table.joined(10 + i, again);
    EXPECT_EQ(table.of_key("k"), 2u);
  }
  EXPECT_EQ(table.next_deadline(), start + 100ms);
  const auto gone = table.take_due(start + 100ms);
  ASSERT_EQ(gone.size(), 2u);
  EXPECT_TRUE(gone[0].ever_a_peer && gone[1].ever_a_peer);
  EXPECT_EQ(table.of_key("k"), 2u);
  EXPECT_EQ(table.size(), 2u);
}

TEST(connection_table, a_key_has_so_many_more_that_newer_ones_have_replaced_and_then_they_count) {
  auto few = bounds(5, 99);
  few.replaced_per_key = 2;
  connection_table table(few);
  for (int i = 0; i < 4; ++i) {
    const auto old = comes(table, i, 10, start);
    table.joined(i, old);
    table.replaced(i, old, start);
    EXPECT_EQ(table.of_key("k"), i < 2 ? 0u : static_cast<std::size_t>(i - 1));
  }
  table.ended(0);  // it went by itself
  const auto next = comes(table, 9, 10, start);
  table.replaced(9, next, start);
  EXPECT_EQ(table.of_key("k"), 2u) << "there is room for one of them again";
  table.take_due(start + 100ms);
  EXPECT_EQ(table.of_key("k"), 0u);
}

TEST(connection_table, an_address_has_so_many_that_are_no_peers) {
  connection_table table(bounds(9, 2));
  const auto first = comes(table, 1, 1, start);
  EXPECT_TRUE(table.accepted(2, 2, "a", start));
  EXPECT_FALSE(table.accepted(3, 3, "a", start));
  table.ended(3);  // it was hung up on
  EXPECT_TRUE(table.accepted(3, 4, "b", start)) << "another address has its own";
  table.joined(1, first);
  EXPECT_TRUE(table.accepted(4, 5, "a", start)) << "a peer does not count";
  EXPECT_FALSE(table.accepted(5, 6, "a", start));
  table.ended(2);
  table.ended(5);
  EXPECT_TRUE(table.accepted(5, 7, "a", start));
  for (int local = 10; local < 20; ++local) EXPECT_TRUE(table.accepted(local, 10, "", start)) << "ipc has no address";
}

TEST(connection_table, nothing_is_left_of_those_who_have_gone) {
  connection_table table(bounds(3, 3));
  time_point now = start;
  for (int i = 0; i < 1'000; ++i, now += 20s) {
    const auto key = std::to_string(i);
    table.accepted(7, 70, key, now);
    const auto given = table.let_in(key, now);
    ASSERT_TRUE(given);
    if (i % 2 == 0) table.heard(7, *given);
    if (i % 3 == 0) table.replaced(7, *given, now);
    if (i % 4 == 0) table.ended(7);
    table.take_due(now + 10s);
    EXPECT_EQ(table.unheard_of(key), 0u);
  }
  EXPECT_TRUE(table.let_in("last", now));
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(table.of_key(std::to_string(i)), 0u);
  EXPECT_EQ(table.size(), 0u);
}

}  // namespace
}  // namespace fxfarm::net
