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
  table.accepted(7, 70, "a", start);
  table.joined(7, 1, 0);
  EXPECT_FALSE(table.next_deadline());
  EXPECT_EQ(due(table, start + 1h), std::vector<int>());
  table.left(7, 1, 0, start + 1h);
  EXPECT_EQ(table.next_deadline(), start + 1h + 5s);
  table.joined(7, 2, 0);  // it has said hello once more
  EXPECT_FALSE(table.next_deadline());
  table.left(7, 2, 0, start + 2h);
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

// The router hears of an end later than the descriptor's next connection comes.
TEST(connection_table, what_a_peer_was_does_not_touch_the_connection_that_has_its_descriptor_now) {
  connection_table table(bounds(9, 9));
  table.accepted(7, 70, "a", start);
  table.joined(7, 1, 0);
  table.ended(7);
  table.accepted(7, 71, "b", start + 1s);
  table.joined(7, 2, 0);
  table.left(7, 1, 0, start + 2s);
  EXPECT_FALSE(table.next_deadline());
  table.left(7, 2, 0, start + 3s);
  EXPECT_EQ(table.next_deadline(), start + 8s);
}

// The router may have read a hello before this table learns that its connection has come, or that the one before it has
// gone.
TEST(connection_table, a_peer_that_is_known_before_its_connection_is_not_hung_up_on) {
  for (const bool had_been_anothers : {false, true}) {
    connection_table table(bounds(9, 9));
    if (had_been_anothers) table.accepted(7, 70, "a", start);
    table.joined(7, 1, 0);
    if (had_been_anothers) table.ended(7);
    table.accepted(7, 71, "b", start);
    EXPECT_EQ(due(table, start + 1h), std::vector<int>());
    EXPECT_FALSE(table.next_deadline());
    table.left(7, 1, 0, start + 1h);
    const auto gone = table.take_due(start + 1h + 5s);
    ASSERT_EQ(gone.size(), 1u);
    EXPECT_EQ(gone[0].inode, 71u);
    EXPECT_TRUE(gone[0].ever_a_peer);
  }
}

// The other way round: the hello of a connection that has ended, while the next one has its descriptor and is silent.
TEST(connection_table, who_says_nothing_is_hung_up_on_when_the_peer_that_was_believed_to_be_there_is_gone) {
  connection_table table(bounds(9, 9));
  table.accepted(7, 70, "a", start);
  table.ended(7);
  table.accepted(7, 71, "b", start);
  table.joined(7, 1, 0);
  EXPECT_EQ(due(table, start + 10s), std::vector<int>());
  table.left(7, 1, 0, start + 10s);
  EXPECT_EQ(due(table, start + 15s), std::vector<int>{7});
}

// ZeroMQ closes a connection without a word when its pipe has ended.
TEST(connection_table, a_descriptor_that_is_accepted_again_is_another_connections) {
  connection_table table(bounds(9, 9));
  table.accepted(7, 70, "a", start);
  table.joined(7, 1, 0);
  table.accepted(7, 71, "a", start + 1s);
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.unheard_of("a"), 1u);
  table.left(7, 1, 0, start + 2s);
  const auto gone = table.take_due(start + 11s);
  ASSERT_EQ(gone.size(), 1u);
  EXPECT_EQ(gone[0].inode, 71u);
}

TEST(connection_table, a_key_has_so_many_connections_whether_they_say_hello_or_not) {
  connection_table table(bounds(2, 9));
  const auto first = table.let_in("a", start), second = table.let_in("a", start);
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, *second);
  EXPECT_FALSE(table.let_in("a", start));
  EXPECT_TRUE(table.let_in("b", start)) << "another key has its own";

  // One says hello and stays; the other has been hung up on by the time that its ticket is void.
  table.accepted(7, 70, "", start);
  table.heard(7, *first);
  table.joined(7, 1, *first);
  EXPECT_FALSE(table.let_in("a", start + 10s - 1ns));
  EXPECT_TRUE(table.let_in("a", start + 10s));
  EXPECT_EQ(table.of_key("a"), 2u);
}

TEST(connection_table, a_connection_of_which_something_was_heard_makes_room_when_it_ends) {
  for (const bool a_peer : {true, false}) {
    connection_table table(bounds(1, 9));
    const auto given = table.let_in("a", start);
    ASSERT_TRUE(given);
    table.accepted(7, 70, "", start);
    table.heard(7, *given);
    if (a_peer) table.joined(7, 1, *given);
    EXPECT_FALSE(table.let_in("a", start));
    table.ended(7);
    EXPECT_EQ(table.of_key("a"), a_peer ? 1u : 0u);
    if (a_peer) table.left(7, 1, *given, start);
    EXPECT_TRUE(table.let_in("a", start));
    // What the router says once more changes nothing.
    table.left(7, 1, *given, start);
    EXPECT_EQ(table.of_key("a"), 1u);
  }
}

TEST(connection_table, who_is_a_peer_now_and_then_holds_its_connection_all_the_time) {
  connection_table table(bounds(1, 9));
  const auto given = table.let_in("a", start);
  ASSERT_TRUE(given);
  table.accepted(7, 70, "", start);
  table.heard(7, *given);
  time_point now = start;
  for (connection_table::peer_number who = 1; who < 10; ++who, now += 4s) {
    table.joined(7, who, *given);
    table.left(7, who, *given, now);
    EXPECT_FALSE(table.let_in("a", now + 4s));
  }
  EXPECT_EQ(due(table, now + 1s), std::vector<int>{7});
  EXPECT_TRUE(table.let_in("a", now + 1s));
}

TEST(connection_table, an_address_has_so_many_that_are_no_peers) {
  connection_table table(bounds(9, 2));
  EXPECT_TRUE(table.accepted(1, 1, "a", start));
  EXPECT_TRUE(table.accepted(2, 2, "a", start));
  EXPECT_FALSE(table.accepted(3, 3, "a", start));
  table.ended(3);  // it was hung up on
  EXPECT_TRUE(table.accepted(3, 4, "b", start)) << "another address has its own";
  table.joined(1, 1, 0);
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
    const auto given = table.let_in(key, now);
    ASSERT_TRUE(given);
    table.accepted(7, 70, key, now);
    if (i % 2 == 0) table.heard(7, *given);
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
