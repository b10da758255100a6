#include "runtime/lookup_window.hpp"

#include <numeric>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

using graphs = std::vector<lookup_window::graph>;

constexpr time_point start{};
constexpr std::size_t most = limits::lookups_unanswered_max;

graphs from_to(lookup_window::graph first, lookup_window::graph last) {
  graphs out(last - first + 1);
  std::iota(out.begin(), out.end(), first);
  return out;
}

lookup_window with(std::size_t open) {
  lookup_window window;
  for (const auto g : from_to(1, open)) window.add(g);
  return window;
}

}  // namespace

TEST(lookup_window, asks_for_so_many_and_for_the_next_when_one_is_answered) {
  auto window = with(most + 3);
  EXPECT_EQ(window.take(start), from_to(1, most));
  EXPECT_EQ(window.take(start), graphs());
  window.answered(5);
  window.answered(5);
  window.answered(most + 1);
  EXPECT_EQ(window.take(start), graphs{most + 1}) << "one answer makes room for one";
  window.answered(1);
  window.answered(2);
  EXPECT_EQ(window.take(start), from_to(most + 2, most + 3));
  EXPECT_FALSE(window.next()) << "nobody waits";
}

TEST(lookup_window, a_question_without_an_answer_keeps_nobody_back_for_long) {
  auto window = with(2 * most + 1);
  window.take(start);
  EXPECT_EQ(window.next(), start + limits::lookup_answer_max);
  EXPECT_EQ(window.take(start + limits::lookup_answer_max - 1ns), graphs());
  EXPECT_EQ(window.take(start + limits::lookup_answer_max), from_to(most + 1, 2 * most));
}

TEST(lookup_window, a_graph_that_is_asked_for_again_waits_once_and_has_room_once) {
  auto window = with(most);
  window.take(start);
  for (int i = 0; i < 3; ++i) window.add(7);
  EXPECT_EQ(window.take(start), graphs());
  window.answered(1);
  EXPECT_EQ(window.take(start), graphs{7});
  window.add(100);
  EXPECT_EQ(window.take(start), graphs{100}) << "7 counts once";
}

TEST(lookup_window, a_graph_that_is_of_no_interest_any_longer_makes_room) {
  auto window = with(most + 2);
  window.take(start);
  window.forget(1);
  window.forget(most + 1);
  EXPECT_EQ(window.take(start), graphs{most + 2});
  window.add(1);
  window.add(most + 1);
  EXPECT_EQ(window.take(start), graphs());
}

TEST(lookup_window, is_halved_for_each_that_is_turned_away_down_to_an_eighth) {
  auto window = with(1'000);
  const auto asked = window.take(start);
  std::size_t expected = most;
  for (const auto g : asked) {
    for (int stage = 0; stage < 3; ++stage) window.turned_away(g);
    expected = std::max(expected / 2, most / 8);
    EXPECT_EQ(window.size(), expected);
  }
  EXPECT_EQ(window.take(start), graphs()) << "they keep their room";
  // From then on so many each time.
  time_point now = start;
  for (int i = 0; i < 5; ++i) {
    now += limits::lookup_answer_max;
    const auto next = window.take(now);
    EXPECT_EQ(next.size(), most / 8);
    for (const auto g : next) window.turned_away(g);
  }
}

TEST(lookup_window, grows_by_one_when_all_of_it_has_been_answered_well_and_not_beyond_what_it_was) {
  auto window = with(10'000);
  for (const auto g : window.take(start)) window.turned_away(g);
  time_point now = start + limits::lookup_answer_max;
  auto size = window.size();
  EXPECT_EQ(size, most / 8);
  for (int i = 0; i < 100; ++i) {
    for (const auto g : window.take(now)) window.answered(g);
    EXPECT_LE(window.size(), size + 1);
    EXPECT_GE(window.size(), size);
    size = window.size();
  }
  EXPECT_EQ(size, most);
}

TEST(lookup_window, one_that_is_turned_away_after_an_answer_halves_it_once_and_has_no_room) {
  auto window = with(most + 1);
  window.take(start);
  window.answered(1);
  for (int stage = 0; stage < 3; ++stage) window.turned_away(1);
  EXPECT_EQ(window.size(), most / 2) << "its first stage was said something of, and the next ones are too many";
  for (lookup_window::graph g = 2; g <= most / 2 + 1; ++g) window.forget(g);
  EXPECT_EQ(window.take(start), graphs{most + 1});
}

TEST(lookup_window, an_answer_to_one_that_was_turned_away_does_not_let_it_grow) {
  auto window = with(most);
  window.take(start);
  window.turned_away(1);
  for (int stage = 0; stage < 3; ++stage) window.answered(1);
  window.turned_away(1);
  for (lookup_window::graph g = 2; g <= most / 2; ++g) window.forget(g);
  EXPECT_EQ(window.size(), most / 2);
}

TEST(lookup_window, what_was_answered_is_of_no_interest_for_longer_than_an_answer_may_take) {
  auto window = with(most);
  window.take(start);
  window.answered(1);
  window.take(start + limits::lookup_answer_max);
  window.turned_away(1);
  EXPECT_EQ(window.size(), most);
}
