#include "runtime/switch_table.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;
using kind = switch_order::kind;

namespace {

const time_point start_of_time{1000s};

std::string digest(char c) {
  return std::string(64, c);
}

class ranks : public ::testing::Test {
protected:
  static rank_report report(unsigned rank, call_pace pace = {}, unsigned stage = 0) {
    return {digest('a'), "g", rank, 2, digest(static_cast<char>('0' + stage)), stage, pace};
  }
  static std::string peer(unsigned rank) { return "p" + std::to_string(rank); }
  bool arm(unsigned rank, call_pace pace = {}, unsigned stage = 0) {
    return table.arm(peer(rank), report(rank, pace, stage), now);
  }
  void vote(unsigned rank, const switch_order& about, bool yes, call_pace pace = {}) {
    table.vote(peer(rank), about.group, about.round, yes, pace, now);
  }
  // What has been said since the last time: "p0 propose" and so on, sorted.
  std::vector<std::string> said() {
    static const char* const names[] = {"propose", "commit", "abort", "pass"};
    news = table.take();
    std::vector<std::string> out;
    for (const auto& o : news.orders) out.push_back(o.peer + " " + names[static_cast<int>(o.what)]);
    std::sort(out.begin(), out.end());
    return out;
  }
  // Both are armed; the proposal.
  switch_order proposed(call_pace first = {}, call_pace second = {}) {
    EXPECT_TRUE(arm(0, first));
    EXPECT_TRUE(arm(1, second));
    EXPECT_EQ(said(), both("propose"));
    return news.orders.at(0);
  }
  static std::vector<std::string> both(const std::string& what) { return {"p0 " + what, "p1 " + what}; }
  // The last proposal that was said.
  switch_order last() const {
    auto it =
        std::find_if(news.orders.rbegin(), news.orders.rend(), [](const auto& o) { return o.what == kind::propose; });
    EXPECT_NE(it, news.orders.rend());
    return *it;
  }

  time_point now = start_of_time;
  switch_table table{"c"};
  switch_table::news news;
};

using lines = std::vector<std::string>;

}  // namespace

TEST_F(ranks, all_are_proposed_one_call_once_the_last_has_armed) {
  ASSERT_TRUE(arm(0));
  EXPECT_EQ(said(), lines{});
  EXPECT_FALSE(table.voting());
  ASSERT_TRUE(arm(1));
  EXPECT_EQ(said(), both("propose"));
  EXPECT_EQ(news.orders[0].call, news.orders[1].call);
  EXPECT_EQ(news.orders[0].round, news.orders[1].round);
  EXPECT_EQ(news.orders[0].stage_key, digest('0'));
  EXPECT_TRUE(table.voting());
}

TEST_F(ranks, they_switch_when_all_have_voted_yes_and_are_forgotten) {
  const auto it = proposed();
  vote(0, it, true);
  EXPECT_EQ(said(), lines{});
  vote(0, it, true);
  EXPECT_EQ(said(), lines{}) << "a vote counts once";
  vote(1, it, true);
  EXPECT_EQ(said(), both("commit"));
  EXPECT_EQ(news.agreed, 1u);
  EXPECT_EQ(news.orders[0].round, it.round);
  EXPECT_FALSE(table.voting());
  EXPECT_EQ(table.groups(), 0u);
}

TEST_F(ranks, the_call_is_ahead_of_the_one_that_is_furthest_by_the_pace_of_the_fastest) {
  EXPECT_EQ(proposed({100, 10}, {90, 40}).call, 100u + 80) << "two seconds of forty calls";
}

TEST_F(ranks, the_call_is_a_few_ahead_where_calls_are_slow) {
  EXPECT_EQ(proposed({7, 0.01}, {7, 0}).call, 7u + 3);
}

TEST_F(ranks, what_was_said_a_while_ago_is_carried_on) {
  ASSERT_TRUE(arm(0, {100, 10}));
  now += 10s;
  ASSERT_TRUE(arm(1, {150, 10}));
  said();
  EXPECT_EQ(last().call, 200u + 20);
}

TEST_F(ranks, one_no_aborts_and_a_call_further_ahead_is_proposed) {
  const auto it = proposed({100, 10}, {100, 10});
  vote(0, it, true, {110, 10});
  vote(1, it, false, {130, 10});
  EXPECT_EQ(said(), (lines{"p0 abort", "p0 propose", "p1 abort", "p1 propose"}));
  EXPECT_EQ(news.aborted, 1u);
  EXPECT_EQ(last().call, 130u + 40) << "the margin has doubled";
  EXPECT_NE(last().round, it.round);
  vote(0, it, true);
  vote(1, it, true);
  EXPECT_EQ(said(), lines{}) << "votes of a round that is over";
}

TEST_F(ranks, proposals_end_after_some_and_go_on_when_one_says_that_it_still_waits) {
  auto it = proposed();
  for (unsigned i = 1; i < limits::switch_tries_max; ++i) {
    vote(0, it, false);
    said();
    it = last();
  }
  vote(0, it, false);
  EXPECT_EQ(said(), both("abort"));
  EXPECT_FALSE(table.voting());
  ASSERT_TRUE(arm(1));
  EXPECT_EQ(said(), both("propose"));
}

TEST_F(ranks, one_that_does_not_vote_in_time_is_left_out_until_it_arms_again) {
  const auto it = proposed();
  vote(0, it, true);
  now += limits::switch_vote_max - 1ms;
  table.tick(now);
  EXPECT_EQ(said(), lines{});
  now += 1ms;
  table.tick(now);
  EXPECT_EQ(said(), both("abort"));
  EXPECT_FALSE(table.voting());
  ASSERT_TRUE(arm(0));
  EXPECT_EQ(said(), lines{});
  ASSERT_TRUE(arm(1));
  EXPECT_EQ(said(), both("propose"));
}

TEST_F(ranks, one_that_is_gone_aborts_the_round_and_is_waited_for) {
  const auto it = proposed();
  vote(0, it, true);
  table.leave("p1", now);
  EXPECT_EQ(said(), lines{"p0 abort"});
  ASSERT_TRUE(arm(0));
  EXPECT_EQ(said(), lines{});
  table.leave("p0", now);
  EXPECT_EQ(table.groups(), 0u);
}

TEST_F(ranks, one_that_comes_back_as_another_peer_takes_its_place) {
  proposed();
  ASSERT_TRUE(table.arm("new", report(1), now));
  EXPECT_EQ(said(), (lines{"new propose", "p0 abort", "p0 propose"}));
  table.leave("p1", now);
  EXPECT_EQ(said(), lines{}) << "it is not the rank any longer";
}

TEST_F(ranks, one_that_is_at_a_better_stage_has_the_others_pass_theirs) {
  ASSERT_TRUE(arm(0, {}, 0));
  ASSERT_TRUE(arm(1, {}, 1));
  EXPECT_EQ(said(), lines{"p0 pass"});
  EXPECT_EQ(news.orders[0].stage_key, digest('0'));
  ASSERT_TRUE(arm(0, {}, 0));
  EXPECT_EQ(said(), lines{"p0 pass"});
  ASSERT_TRUE(arm(0, {}, 1));
  EXPECT_EQ(said(), both("propose"));
}

TEST_F(ranks, stages_of_different_keys_are_never_proposed) {
  ASSERT_TRUE(arm(0));
  auto other = report(1);
  other.stage_key = digest('f');
  ASSERT_TRUE(table.arm("p1", other, now));
  EXPECT_EQ(said(), lines{});
}

TEST_F(ranks, groups_do_not_mix) {
  ASSERT_TRUE(arm(0));
  auto stranger = report(1);
  stranger.group = digest('b');
  ASSERT_TRUE(table.arm("p1", stranger, now));
  EXPECT_EQ(said(), lines{});
  EXPECT_EQ(table.groups(), 2u);
}

TEST_F(ranks, a_report_that_is_out_of_bounds_or_contradicts_others_is_refused) {
  auto with = [&](auto change) {
    auto r = report(1);
    change(r);
    return table.arm("p1", r, now);
  };
  ASSERT_TRUE(arm(0));
  EXPECT_FALSE(with([](auto& r) { r.rank = 2; }));
  EXPECT_FALSE(with([](auto& r) { r.world = 3; }));
  EXPECT_FALSE(with([](auto& r) { r.graph_key = "other"; }));
  EXPECT_FALSE(with([](auto& r) { r.group = "short"; }));
  EXPECT_FALSE(with([](auto& r) { r.stage_key = "short"; }));
  EXPECT_FALSE(with([](auto& r) { r.stage = limits::stages_per_graph_max; }));
  EXPECT_FALSE(with([](auto& r) { r.pace.calls = limits::switch_calls_max + 1; }));
  EXPECT_FALSE(with([](auto& r) { r.pace.calls_per_second = -1; }));
  EXPECT_FALSE(with([](auto& r) { r.pace.calls_per_second = std::nan(""); }));
  EXPECT_EQ(said(), lines{});
}

// Whatever ranks do, a round ends in one verdict for all, and nothing is left behind.
TEST_F(ranks, random_walks_never_commit_without_every_vote) {
  std::mt19937 dice(7);
  for (int walk = 0; walk < 200; ++walk) {
    switch_table t{"c"};
    std::map<std::string, std::set<std::string>> voted;  // peers by round
    std::map<std::string, std::string> verdicts;
    std::map<std::string, switch_order> open;  // by peer
    for (int step = 0; step < 200; ++step) {
      const unsigned rank = dice() % 3;
      const auto who = peer(rank);
      auto r = report(rank, {dice() % 50, static_cast<double>(dice() % 5)}, dice() % 8 == 0);
      r.world = 3;
      switch (dice() % 8) {
        case 0:
          t.leave(who, now);
          open.erase(who);
          break;
        case 1:
          now += 400ms;
          t.tick(now);
          break;
        case 2:
        case 3:
        case 4:
          t.arm(who, r, now);
          break;
        default:
          if (auto it = open.find(who); it != open.end()) {
            const bool yes = dice() % 6 != 0;
            if (yes) voted[it->second.round].insert(who);
            t.vote(who, it->second.group, it->second.round, yes, r.pace, now);
          }
      }
      for (const auto& o : t.take().orders) {
        if (o.what == kind::propose) open[o.peer] = o;
        if (o.what == kind::propose || o.what == kind::pass) continue;
        const auto verdict = o.what == kind::commit ? "commit" : "abort";
        EXPECT_EQ(verdicts.emplace(o.round, verdict).first->second, verdict);
        if (o.what == kind::commit) {
          EXPECT_EQ(voted[o.round].size(), 3u);
        }
      }
    }
    for (unsigned rank = 0; rank < 3; ++rank) t.leave(peer(rank), now);
    EXPECT_EQ(t.groups(), 0u);
    EXPECT_FALSE(t.voting());
  }
}
