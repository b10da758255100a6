#include "runtime/compile_book.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

TEST(compile_book, expects_what_it_took_the_last_time) {
  compile_book book;
  EXPECT_EQ(book.expected("g", "default"), 0);
  book.took("g", "default", 10);
  book.took("g", "default", 12);
  book.took("g", "max-autotune", 100);
  EXPECT_EQ(book.expected("g", "default"), 12);
  EXPECT_EQ(book.expected("g", "max-autotune"), 100);
}

TEST(compile_book, expects_of_what_it_does_not_know_what_others_lately_took) {
  compile_book book;
  for (int i = 0; i < 500; ++i) book.took("old" + std::to_string(i), "default", 100);
  EXPECT_NEAR(book.expected("new", "default"), 100, 1e-3);
  for (int i = 0; i < 500; ++i) book.took("g" + std::to_string(i), "default", 2);
  EXPECT_NEAR(book.expected("new", "default"), 2, 1e-3);
}

TEST(compile_book, forgets_the_oldest_past_its_bound) {
  compile_book book(2);
  book.took("a", "default", 1);
  book.took("b", "default", 2);
  book.took("a", "default", 3);
  book.took("c", "default", 4);
  EXPECT_EQ(book.expected("b", "default"), 2);
  EXPECT_EQ(book.expected("c", "default"), 4);
  EXPECT_NE(book.expected("a", "default"), 3);
}

TEST(compile_book, tells_when_the_queue_is_likely_to_have_gone) {
  struct {
    double seconds_each;
    std::size_t queued;
    std::uint64_t slots;
    std::chrono::milliseconds after;
  } const cases[] = {
      {0, 1'000, 10, limits::busy_retry_min},
      {20, 0, 10, limits::busy_retry_min},
      {20, 10, 10, 20s},
      {20, 10, 40, 5s},
      {20, 100'000, 10, limits::busy_retry_max},
      {20, 10, 0, limits::busy_retry_max},
      {1e300, 100'000, 1, limits::busy_retry_max},
  };
  for (const auto& c : cases) {
    compile_book book;
    book.took("g", "default", c.seconds_each);
    EXPECT_EQ(book.retry_after(c.queued, c.slots), c.after) << c.seconds_each << " " << c.queued << " " << c.slots;
  }
}

TEST(compile_book, knows_the_largest_limit_of_memory_that_a_compile_has_passed) {
  compile_book book(2);
  EXPECT_EQ(book.memory_above("a", "default"), 0u);
  book.passed_memory("a", "default", 200);
  book.passed_memory("a", "default", 100);
  book.passed_memory("a", "max-autotune", 300);
  EXPECT_EQ(book.memory_above("a", "default"), 200u);
  EXPECT_EQ(book.memory_above("a", "max-autotune"), 300u);
  book.passed_memory("b", "default", 400);
  EXPECT_EQ(book.memory_above("a", "default"), 0u) << "the oldest is forgotten";
  EXPECT_EQ(book.memory_above("b", "default"), 400u);
}

TEST(compile_book, expects_the_memory_that_it_had_the_last_time) {
  constexpr std::uint64_t MiB = limits::MiB;
  compile_book book;
  EXPECT_EQ(book.memory_expected("g", "default"), limits::job_memory_bytes) << "before anything is known";
  book.had_memory("g", "default", 0, true);
  EXPECT_EQ(book.memory_expected("g", "default"), limits::job_memory_bytes) << "nobody has looked";
  book.had_memory("g", "default", 700 * MiB, true);
  EXPECT_EQ(book.memory_expected("g", "default"), 768 * MiB);
  book.had_memory("g", "default", 500 * MiB, true);
  EXPECT_EQ(book.memory_expected("g", "default"), 512 * MiB);
  book.had_memory("g", "default", 300 * MiB, false);
  EXPECT_EQ(book.memory_expected("g", "default"), 512 * MiB) << "it ended early";
  book.had_memory("g", "default", 900 * MiB, false);
  EXPECT_EQ(book.memory_expected("g", "default"), 1024 * MiB) << "and had more all the same";
  EXPECT_EQ(book.expected("g", "default"), 0) << "how long it takes is another matter";
}

TEST(compile_book, expects_of_what_it_does_not_know_the_memory_of_nine_in_ten_others) {
  constexpr std::uint64_t MiB = limits::MiB;
  compile_book book;
  for (int i = 0; i < 100; ++i)
    book.had_memory("g" + std::to_string(i), "default", (i % 20 == 0 ? 6000 : 900) * MiB, true);
  EXPECT_EQ(book.memory_expected("new", "default"), 1024 * MiB);
  EXPECT_EQ(book.memory_expected("g0", "default"), 6144 * MiB);
  EXPECT_EQ(book.memory_expected("new", "max-autotune"), 1024 * MiB) << "of a stage that is new, as all";
  for (int i = 0; i < 50; ++i)
    book.had_memory("k" + std::to_string(i), "some are large", (i % 5 == 0 ? 6000 : 900) * MiB, true);
  EXPECT_EQ(book.memory_expected("new", "some are large"), 6144 * MiB);
  book.had_memory("other", "max-autotune", 3000 * MiB, true);
  EXPECT_EQ(book.memory_expected("new", "max-autotune"), 3072 * MiB);
  EXPECT_EQ(book.memory_expected("new", "default"), 1024 * MiB);
  for (int i = 0; i < 100; ++i) book.had_memory("h" + std::to_string(i), "default", 100 * MiB, true);
  EXPECT_EQ(book.memory_expected("new", "default"), 128 * MiB) << "what was long ago counts little";
}

TEST(compile_book, remembers_the_memory_of_no_more_stages_than_may_be) {
  compile_book book;
  book.had_memory("g", "default", 1, true);
  for (std::size_t i = 0; i < 2 * limits::stages_measured_max; ++i)
    book.had_memory("g", "stage" + std::to_string(i), 1ULL << 40, true);
  EXPECT_EQ(book.memory_expected("new", "default"), 64 * limits::MiB);
  EXPECT_EQ(book.memory_expected("new", "stage1"), 1ULL << 40);
}
