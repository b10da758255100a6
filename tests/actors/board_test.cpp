#include "actors/board.hpp"

#include <thread>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;  // only a broken test waits so long

graph_status graph(std::uint64_t id, std::vector<stage_state> states, bool settled = false) {
  graph_status g;
  g.id = id;
  g.settled = settled;
  const char* names[] = {"default", "max-autotune"};
  for (std::size_t i = 0; i < states.size(); ++i) {
    stage_status s;
    s.name = names[i];
    s.state = states[i];
    g.stages.push_back(std::move(s));
  }
  return g;
}

constexpr auto waiting = stage_state::waiting, loaded = stage_state::loaded, failed = stage_state::failed,
               superseded = stage_state::superseded, rolled_back = stage_state::rolled_back;

}  // namespace

TEST(board, a_wait_ends_as_the_graphs_do) {
  struct {
    std::vector<graph_status> graphs;
    const char* stage;
    wait_result expected;
  } const cases[] = {
      {{}, "", wait_result::reached},
      {{graph(1, {waiting, waiting})}, "", wait_result::timed_out},
      {{graph(1, {loaded, waiting})}, "", wait_result::timed_out},
      {{graph(1, {loaded, waiting})}, "default", wait_result::reached},
      {{graph(1, {superseded, loaded}, true)}, "default", wait_result::reached},
      {{graph(1, {superseded, loaded}, true)}, "", wait_result::reached},
      {{graph(1, {loaded, rolled_back}, true)}, "", wait_result::reached},
      {{graph(1, {loaded, failed}, true)}, "", wait_result::failed},
      {{graph(1, {failed, failed}, true), graph(2, {loaded, loaded}, true)}, "default", wait_result::failed},
      {{graph(1, {failed, failed}, true), graph(2, {waiting, waiting})}, "default", wait_result::timed_out},
      {{graph(1, {loaded, loaded}, true)}, "no such stage", wait_result::failed},
  };
  for (const auto& c : cases) {
    board b;
    for (const auto& g : c.graphs) b.add(g);
    EXPECT_EQ(b.wait(c.stage, 1ms), c.expected) << &c - cases;
  }
}

TEST(board, a_wait_is_woken_from_another_thread) {
  board b;
  b.add(graph(1, {waiting}));
  b.add(graph(2, {waiting}));
  std::thread other([&] {
    b.update(graph(1, {loaded}, true));
    b.erase(2);
  });
  EXPECT_EQ(b.wait("", patience), wait_result::reached);
  other.join();
}

TEST(board, news_of_an_erased_graph_change_nothing) {
  board b;
  b.add(graph(1, {waiting}));
  b.erase(1);
  b.update(graph(1, {waiting}));
  EXPECT_TRUE(b.graphs().empty());
  EXPECT_EQ(b.find(1), nullptr);
  EXPECT_EQ(b.wait("", 0ms), wait_result::reached);
}

TEST(board, counters_go_back_to_nothing_and_keep_their_names) {
  board b;
  b.count("lookups");
  b.count("lookups", 2);
  EXPECT_EQ(b.stats().at("lookups"), 3u);
  b.reset_stats();
  EXPECT_EQ(b.stats().at("lookups"), 0u);
}

TEST(board, a_reset_sets_its_counters_back_and_keeps_totals_for_metrics) {
  board b;
  b.count("lookups", 3);
  b.reset_stats();
  b.count("lookups");
  b.count("graphs");
  EXPECT_EQ(b.stats(), (std::map<std::string, std::uint64_t>{{"lookups", 1}, {"graphs", 1}}));
  EXPECT_EQ(b.totals().at("lookups"), 4u);
}
