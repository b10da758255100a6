#include "runtime/graph_neighbour.hpp"

#include <chrono>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

using texts = std::map<std::string, std::string>;

struct known {
  std::string graph;
  std::string stage_key;
  texts parts;
  texts options = {};
  std::string isa = "x86-64-v4";
};

class graph_neighbour : public ::testing::Test {
protected:
  // Each is asked for a second after the one before it.
  stage_entry& ask(const known& k) {
    auto& stage = book.touch(k.graph, "name of " + k.graph, "default", k.stage_key);
    platform target;
    target.isa = k.isa;
    book.covers(stage, std::make_shared<const platform>(target), k.options);
    book.note(stage, life_step::missed, now += 1s);
    book.asked(k.graph, "space", k.parts, now);
    return stage;
  }
  std::optional<neighbour> find(const known& k) {
    ask(k);
    return nearest(book, book.graphs().front(), *book.find(k.graph, k.stage_key));
  }

  graph_book book;
  time_point now{100s};
};

std::string told(const std::optional<neighbour>& n) {
  if (!n) return "none";
  std::string out = n->stage_key + ":";
  for (const auto& d : n->differ) out += " " + d.part + " " + d.here + "/" + d.there;
  return out;
}

}  // namespace

TEST_F(graph_neighbour, has_the_most_equal_parts) {
  ask({"g1", "s1", {{"inputs", "i1"}, {"nodes", "n1"}, {"config", "c1"}}});
  ask({"g2", "s2", {{"inputs", "i2"}, {"nodes", "n2"}, {"config", "c1"}}});
  const auto found = find({"g3", "s3", {{"inputs", "i3"}, {"nodes", "n1"}, {"config", "c1"}}});
  EXPECT_EQ(told(found), "s1: graph.inputs i3/i1");
  EXPECT_EQ(found->graph_name, "name of g1");
  EXPECT_EQ(found->equal, 11u);  // nodes, config and nine fields of the platform
}

TEST_F(graph_neighbour, may_be_the_same_graph_for_another_platform_or_with_other_options) {
  ask({"g1", "s1", {{"inputs", "i"}}, {{"max_autotune", "true"}}});
  EXPECT_EQ(told(find({"g1", "s2", {{"inputs", "i"}}, {{"max_autotune", "true"}}, "x86-64-v3"})),
            "s1: platform.isa x86-64-v3/x86-64-v4");
  EXPECT_EQ(told(find({"g1", "s3", {{"inputs", "i"}}, {{"epilogue", "1"}, {"max_autotune", "true"}}})),
            "s1: options.epilogue 1/");
}

TEST_F(graph_neighbour, was_there_before) {
  const auto first = find({"g1", "s1", {{"inputs", "i"}}});
  EXPECT_EQ(told(first), "none");
  ask({"g2", "s2", {{"inputs", "i"}}});
  EXPECT_EQ(told(nearest(book, book.graphs().back(), *book.find("g1", "s1"))), "none");
}

TEST_F(graph_neighbour, of_clients_that_say_no_parts_the_key_is_one) {
  ask({"g1", "s1", {}});
  EXPECT_EQ(told(find({"g2", "s2", {}})), "s1: graph g2/g1");
  EXPECT_EQ(told(find({"g1", "s3", {}, {{"a", "1"}}})), "s1: options.a 1/");
}

TEST_F(graph_neighbour, among_equals_is_the_one_asked_for_last) {
  ask({"g1", "s1", {{"inputs", "i1"}}});
  ask({"g2", "s2", {{"inputs", "i2"}}});
  EXPECT_EQ(told(find({"g3", "s3", {{"inputs", "i3"}}})), "s2: graph.inputs i3/i2");
}
