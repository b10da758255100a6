// A client with many open graphs whose farm comes back: how many it asks for at a time.
#include "client_harness.hpp"

#include <algorithm>
#include <set>

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t most = limits::lookups_unanswered_max;
constexpr std::size_t open_graphs = 1'000;

// A client with so many open graphs, whose farm comes up.
class client_with_many_graphs : public client_test {
protected:
  void SetUp() override {
    start({farm}, "");
    for (std::uint64_t id = 1; id <= open_graphs; ++id) submit(id, key_of(id));
    up(farm);
  }
  static std::string key_of(std::uint64_t id) {
    const auto digits = std::to_string(id);
    return std::string(64 - digits.size(), '0') + digits;
  }
  // The graphs that it has asked for since the last look.
  std::vector<std::string> asked() {
    std::vector<std::string> out;
    for (const auto& m : links->take<net::lookup>(farm)) out.push_back(m.graph_key);
    return out;
  }
  void answer(const std::string& key, std::uint64_t retry_ms = 0) {
    const auto stage = stage_key(std::stoull(key), 0);
    if (retry_ms == 0) return deliver(client, said(farm, net::stage_progress{key, stage, "queued", ""}));
    deliver(client, said(farm, net::stage_failed{key, stage, "busy", "why", retry_ms}));
  }

  static inline const std::string farm = "tcp://a";
};

}  // namespace

TEST_F(client_with_many_graphs, asks_for_the_next_when_one_is_answered) {
  auto unanswered = asked();
  ASSERT_EQ(unanswered.size(), most);
  std::set<std::string> all(unanswered.begin(), unanswered.end());
  for (std::size_t answered = 0; answered < open_graphs; ++answered) {
    answer(unanswered.at(answered));
    const auto next = asked();
    EXPECT_EQ(next.size(), answered < open_graphs - most ? 1u : 0u) << answered;
    unanswered.insert(unanswered.end(), next.begin(), next.end());
    all.insert(next.begin(), next.end());
  }
  EXPECT_EQ(unanswered.size(), open_graphs);
  EXPECT_EQ(all.size(), open_graphs) << "each once";
}

TEST_F(client_with_many_graphs, is_not_held_up_by_a_farm_that_does_not_answer_some) {
  EXPECT_EQ(asked().size(), most);
  for (std::size_t left = open_graphs - most; left > 0; left -= std::min(left, most)) {
    pass(limits::lookup_answer_max);
    EXPECT_EQ(asked().size(), std::min(left, most));
  }
}

TEST_F(client_with_many_graphs, asks_less_when_the_farm_is_busy_and_comes_again_when_it_was_told_to) {
  constexpr std::uint64_t retry_ms = 5'000;
  std::size_t sent = 0;
  for (const auto& key : asked()) {
    answer(key, retry_ms);
    ++sent;
  }
  EXPECT_EQ(sent, most);
  EXPECT_EQ(asked().size(), 0u);
  for (int second = 1; second <= 4; ++second) {
    pass(1s);
    const auto next = asked();
    EXPECT_EQ(next.size(), most / 8) << second;
    for (const auto& key : next) answer(key, retry_ms);
  }
  // It has room again: each answer makes room for one, and all come to their turn, those that were refused, too.
  std::set<std::string> heard;
  for (int round = 0; round < 20'000 && heard.size() < open_graphs; ++round) {
    const auto next = asked();
    if (next.empty()) pass(1s);
    for (const auto& key : next) {
      answer(key);
      heard.insert(key);
    }
  }
  EXPECT_EQ(heard.size(), open_graphs);
}

// A stage that was loaded from another farm meanwhile, say: asked for after its release it would be compiled for
// nobody.
TEST_F(client_with_many_graphs, releases_a_stage_after_the_question_that_names_it) {
  const auto first = asked();
  ASSERT_EQ(first.size(), most);
  std::uint64_t waiting = 1;
  while (std::find(first.begin(), first.end(), key_of(waiting)) != first.end()) ++waiting;
  const auto release = std::make_shared<net::message>(net::release{{stage_key(waiting, 0)}});
  tell(client, to_farm{waiting, release, nullptr});
  ASSERT_EQ(links->sent.size(), 2u);
  const auto* lookup = std::get_if<net::lookup>(&links->sent[0].what);
  ASSERT_TRUE(lookup) << "though its turn had not come";
  EXPECT_EQ(lookup->graph_key, key_of(waiting));
  EXPECT_TRUE(std::holds_alternative<net::release>(links->sent[1].what));
  links->sent.clear();
  for (std::size_t left = open_graphs - most - 1; left > 0; left -= std::min(left, most)) {
    pass(limits::lookup_answer_max);
    EXPECT_EQ(asked().size(), std::min(left, most)) << "each of the others once";
  }
}

TEST_F(client_with_many_graphs, begins_anew_with_a_farm_that_has_gone_and_come_back) {
  EXPECT_EQ(asked().size(), most);
  down(farm);
  pass(10s);
  EXPECT_EQ(asked().size(), 0u);
  up(farm);
  EXPECT_EQ(asked().size(), most);
  for (std::uint64_t id = 1; id <= open_graphs; ++id) tell(client, release_graph{id});
  pass(10s);
  EXPECT_EQ(asked().size(), 0u) << "nobody waits for them any longer";
}
