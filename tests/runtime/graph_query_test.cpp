#include "runtime/graph_query.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

class graph_query_test : public ::testing::Test {
protected:
  void SetUp() override {
    add("a1", "gpt2/0", "default", "ready", 3, 1, 1);
    add("a1", "gpt2/0", "max", "running", 0, 0, 0);
    add("b1", "bert/0", "default", "failed", 0, 9, 5);
    add("b2", "gpt2/1", "default", "queued", 0, 0, 2);
    add("c1", "mlp/0", "max", "ready", 8, 2, 0);
  }
  void add(const std::string& graph, const std::string& name, const std::string& stage, const std::string& state,
           double compile, double queue, int lookups) {
    auto& entry = book.touch(graph, name, stage, stage + " of " + graph);
    entry.state = state;
    entry.compile_seconds = compile;
    entry.queue_seconds = queue;
    for (int i = 0; i < lookups; ++i) book.asked(graph, "space", {}, {});
  }
  std::string found(const graph_query& query) {
    std::string keys;
    for (const auto* graph : select(book, query)) keys += graph->graph_key + " ";
    return keys;
  }

  graph_book book;
};

}  // namespace

TEST_F(graph_query_test, selects_and_sorts) {
  const std::vector<std::pair<graph_query, std::string>> rows{
      {{}, "c1 b2 b1 a1 "},
      {{.state = "ready"}, "c1 a1 "},
      {{.name = "gpt2"}, "b2 a1 "},
      {{.key = "b"}, "b2 b1 "},
      {{.key = "max of c"}, "c1 "},
      {{.stage = "max"}, "c1 a1 "},
      {{.state = "ready", .stage = "max"}, "c1 "},
      {{.state = "released"}, ""},
      {{.sort = "name"}, "b1 a1 b2 c1 "},
      {{.sort = "compile"}, "c1 a1 b2 b1 "},
      {{.stage = "max", .sort = "compile"}, "c1 a1 "},
      {{.sort = "queue"}, "b1 c1 a1 b2 "},
      {{.sort = "lookups"}, "b1 b2 a1 c1 "},
      {{.sort = "lookups", .limit = 2}, "b1 b2 "},
  };
  for (const auto& [query, keys] : rows) EXPECT_EQ(found(query), keys) << query.sort;
}

TEST_F(graph_query_test, shows_the_stages_of_the_wanted_name) {
  const auto& stages = select(book, {.name = "gpt2/0"}).at(0)->stages;
  EXPECT_TRUE(shows({}, stages[0]) && shows({}, stages[1]));
  EXPECT_FALSE(shows({.stage = "max"}, stages[0]));
  EXPECT_TRUE(shows({.stage = "max"}, stages[1]));
}
