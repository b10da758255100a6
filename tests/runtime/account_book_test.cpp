#include "runtime/account_book.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

TEST(account_book, lookups_are_counted_by_the_second_for_all_connections_of_a_key) {
  account_book book({1000, 3});
  const time_point start{};
  book.join("a", start);
  book.join("a", start);
  book.join("b", start);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(book.take_lookup("a", start));
  EXPECT_FALSE(book.take_lookup("a", start));
  EXPECT_TRUE(book.take_lookup("b", start)) << "another key";
  EXPECT_FALSE(book.take_lookup("a", start + 300ms));
  EXPECT_TRUE(book.take_lookup("a", start + 700ms));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(book.take_lookup("a", start + 1h));
  EXPECT_FALSE(book.take_lookup("a", start + 1h)) << "an hour's silence is worth a second";
}

TEST(account_book, who_comes_back_has_no_more_than_who_stays) {
  account_book book({1000, 1});
  const time_point start{};
  book.join("a", start);
  EXPECT_TRUE(book.take_lookup("a", start));
  book.leave("a");
  book.forget_idle(start + 500ms);
  book.join("a", start + 500ms);
  EXPECT_FALSE(book.take_lookup("a", start + 500ms));
  book.leave("a");
  book.forget_idle(start + 2s);
  EXPECT_EQ(book.size(), 0u) << "by then it would have all again";
}

TEST(account_book, bytes_are_held_until_they_are_let_go) {
  account_book book({10, 1});
  book.join("a", {});
  book.join("b", {});
  EXPECT_TRUE(book.hold("a", 6));
  EXPECT_FALSE(book.hold("a", 5));
  EXPECT_TRUE(book.hold("a", 4));
  EXPECT_TRUE(book.hold("b", 10));
  EXPECT_EQ(book.held(), 20u);
  book.leave("a");
  EXPECT_EQ(book.held(), 20u) << "its jobs go on";
  book.let_go("a", 6);
  book.let_go("a", 4);
  book.let_go("b", 10);
  EXPECT_EQ(book.held(), 0u);
  book.forget_idle(time_point(1s));
  EXPECT_EQ(book.size(), 1u) << "nobody is left of the one";
}

TEST(account_book, a_graph_of_no_bytes_is_held_like_any_other) {
  account_book book({10, 1});
  book.join("a", {});
  EXPECT_TRUE(book.hold("a", 0));
  book.leave("a");
  book.forget_idle(time_point(1h));
  EXPECT_EQ(book.size(), 1u);
  book.let_go("a", 0);
  book.forget_idle(time_point(1h));
  EXPECT_EQ(book.size(), 0u);
}
