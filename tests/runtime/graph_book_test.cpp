#include "runtime/graph_book.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

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
