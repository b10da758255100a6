#include "runtime/write_queue.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

std::shared_ptr<const stored> artifact(std::size_t bytes) {
  return std::make_shared<const stored>(stored{make_blob(fxfarm::bytes(bytes)), {}, "", ""});
}

}  // namespace

TEST(write_queue, gives_the_oldest_first_and_the_newest_word_for_a_key) {
  write_queue q(1000, 10);
  ASSERT_TRUE(q.push("a", artifact(1)));
  ASSERT_TRUE(q.push("b", artifact(2)));
  ASSERT_TRUE(q.push("a", nullptr));
  EXPECT_EQ(q.size(), 2u);
  EXPECT_EQ(q.bytes(), 2u);
  EXPECT_EQ(q.find("a")->what, nullptr);
  EXPECT_EQ(q.find("c"), nullptr);
  auto first = q.take_attempt();
  EXPECT_EQ(first.key, "b");
  q.finish(first);
  EXPECT_EQ(q.take_attempt().key, "a");
  EXPECT_EQ(q.bytes(), 0u);
}

TEST(write_queue, keeps_what_was_pushed_while_the_older_was_being_written) {
  write_queue q(1000, 10);
  ASSERT_TRUE(q.push("a", artifact(1)));
  auto writing = q.take_attempt();
  ASSERT_TRUE(q.push("a", artifact(3)));
  q.finish(writing);
  ASSERT_EQ(q.size(), 1u);
  EXPECT_EQ(q.bytes(), 3u);
  q.finish(q.take_attempt());
  EXPECT_TRUE(q.empty());
}

TEST(write_queue, counts_attempts_at_each) {
  write_queue q(1000, 10);
  ASSERT_TRUE(q.push("a", artifact(1)));
  EXPECT_EQ(q.take_attempt().attempts, 1u);
  EXPECT_EQ(q.take_attempt().attempts, 2u);
}

TEST(write_queue, takes_no_more_bytes_and_entries_than_it_may) {
  write_queue q(10, 3);
  EXPECT_FALSE(q.push("a", artifact(11)));
  EXPECT_TRUE(q.push("a", artifact(6)));
  EXPECT_FALSE(q.push("b", artifact(5)));
  EXPECT_TRUE(q.push("b", artifact(4)));
  EXPECT_TRUE(q.push("c", nullptr));
  EXPECT_FALSE(q.push("d", nullptr));
  // An older word for the key would be out of date.
  EXPECT_FALSE(q.push("a", artifact(7)));
  EXPECT_EQ(q.find("a"), nullptr);
  EXPECT_EQ(q.bytes(), 4u);
  q.clear();
  EXPECT_TRUE(q.empty());
  EXPECT_EQ(q.bytes(), 0u);
}
