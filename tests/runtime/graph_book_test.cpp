#include "runtime/graph_book.hpp"

#include <chrono>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

std::string keys(const graph_book& book) {
  std::string out;
  for (const auto& g : book.graphs()) out += g.graph_key;
  return out;
}

}  // namespace

TEST(graph_book, shows_the_youngest_first) {
  graph_book book;
  book.touch("a", "A", "default", "a0");
  book.touch("b", "B", "default", "b0");
  EXPECT_EQ(keys(book), "ba");
  book.touch("a", "A", "default", "a0");
  EXPECT_EQ(keys(book), "ab");
}

TEST(graph_book, forgets_the_oldest_graph_past_its_bound) {
  graph_book book(2);
  for (const char* key : {"a", "b", "c"}) book.touch(key, key, "default", "0");
  EXPECT_EQ(keys(book), "cb");
  EXPECT_EQ(book.find("a", "0"), nullptr);
  EXPECT_NE(book.find("b", "0"), nullptr);
  book.touch("a", "a", "default", "0");
  EXPECT_EQ(keys(book), "ac");
}

TEST(graph_book, forgets_the_oldest_stage_past_its_bound) {
  graph_book book;
  for (std::size_t i = 0; i <= limits::stages_remembered_max; ++i) book.touch("a", "A", "s", std::to_string(i));
  EXPECT_EQ(book.graphs().front().stages.size(), limits::stages_remembered_max);
  EXPECT_EQ(book.find("a", "0"), nullptr);
  EXPECT_NE(book.find("a", "1"), nullptr);
  EXPECT_NE(book.find("a", std::to_string(limits::stages_remembered_max)), nullptr);
}

TEST(graph_book, keeps_what_was_written_down) {
  graph_book book;
  EXPECT_EQ(book.touch("a", "A", "default", "0").state, "looking");
  book.find("a", "0")->state = "ready";
  EXPECT_EQ(book.touch("a", "A", "default", "0").state, "ready");
  EXPECT_EQ(book.find("a", "1"), nullptr);
  EXPECT_EQ(book.find("b", "0"), nullptr);
}

TEST(graph_book, keeps_who_asked_and_what_the_key_covers) {
  graph_book book;
  const time_point now{100s};
  book.asked("a", "early", {}, now);  // not known yet
  book.touch("a", "A", "default", "0");
  book.asked("a", "x", {}, now);
  book.asked("a", "y", {{"inputs", "1"}}, now + 5s);
  book.asked("a", "x", {{"inputs", "2"}}, now + 7s);
  const auto& graph = book.graphs().front();
  EXPECT_EQ(graph.lookups, 3u);
  EXPECT_EQ(graph.first_asked, now);
  EXPECT_EQ(graph.last_asked, now + 7s);
  EXPECT_EQ(graph.spaces, (std::set<std::string>{"x", "y"}));
  EXPECT_EQ(graph.parts, (std::map<std::string, std::string>{{"inputs", "1"}}));
}

TEST(graph_book, bounds_what_peers_say) {
  graph_book book;
  book.touch("a", "A", "default", "0");
  std::map<std::string, std::string> parts;
  for (std::size_t i = 0; i < 2 * limits::key_parts_max; ++i) parts["p" + std::to_string(i)] = std::string(1000, 'x');
  book.asked("a", "s", parts, {});
  for (std::size_t i = 0; i < 2 * limits::spaces_remembered_max; ++i) book.asked("a", std::to_string(i), {}, {});
  const auto& graph = book.graphs().front();
  EXPECT_EQ(graph.parts.size(), limits::key_parts_max);
  EXPECT_EQ(graph.parts.begin()->second.size(), limits::key_part_bytes_max);
  EXPECT_EQ(graph.spaces.size(), limits::spaces_remembered_max);
}

TEST(graph_book, forgets_the_oldest_graphs_past_its_bytes) {
  constexpr std::uint64_t room = 20'000;
  graph_book book(1000, room);
  for (char key = 'a'; key <= 'z'; ++key) {
    const std::string graph(1, key);
    book.note(book.touch(graph, graph, "default", "0"), life_step::failed, {}, {.text = std::string(900, 'x')});
  }
  book.touch("!", "!", "default", "0");
  EXPECT_LE(book.bytes(), room + 2000);
  EXPECT_GT(book.bytes(), room / 2);
  EXPECT_EQ(book.graphs().front().graph_key, "!");
  EXPECT_NE(book.find("z", "0"), nullptr);
  EXPECT_EQ(book.find("a", "0"), nullptr);
}

TEST(graph_book, counts_no_bytes_of_what_it_has_forgotten) {
  graph_book book(1);
  book.touch("a", "A", "default", "0");
  const auto bytes = book.bytes();
  book.asked("a", "space", {{"inputs", "1"}}, {});
  for (std::size_t i = 0; i < 2 * limits::stages_remembered_max; ++i) {
    auto& stage = book.touch("a", "A", "default", std::to_string(i));
    book.covers(stage, std::make_shared<const platform>(), {{"option", "value"}});
    book.note("a", stage.stage_key, life_step::retried, {}, {.text = "why"});
  }
  EXPECT_GT(book.bytes(), bytes);
  book.touch("b", "B", "default", "0");
  EXPECT_EQ(book.bytes(), bytes);
}
