#include "net/stream.hpp"

#include "peers.hpp"

#include <gtest/gtest.h>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

constexpr time_point start{};

// Small enough to count by hand: chunks of 10, a window of 40.
stream_bounds small_bounds() {
  stream_bounds b;
  b.chunk_bytes = 10;
  b.window_bytes = 40;
  b.streams_max = 2;
  b.backlog_bytes_max = 1'000;
  b.attachment_bytes_max = 500;
  b.silence_max = 20s;
  return b;
}

blob content_of_size(std::size_t size) {
  return make_blob(pattern_bytes(size));
}

void push(stream_sender& to, const std::string& key, std::size_t size) {
  const auto content = content_of_size(size);
  const auto taken = to.push(encode(submit{key}), content, digest_hex(*content));
  ASSERT_TRUE(taken) << to_string(taken.failure());
}

// What the sender does until it can do no more: "open 1", "1: 0+10", ...
std::vector<std::string> steps(stream_sender& from, time_point now = start) {
  std::vector<std::string> out;
  while (true) {
    const auto step = from.next(now);
    if (const auto* o = std::get_if<stream_sender::opening>(&step)) {
      out.push_back("open " + std::to_string(o->info.stream));
    } else if (const auto* p = std::get_if<stream_sender::piece>(&step)) {
      out.push_back(std::to_string(p->stream) + ": " + std::to_string(p->offset) + "+" +
                    std::to_string(p->data.size()));
    } else {
      return out;
    }
  }
}

using list = std::vector<std::string>;

TEST(stream_sender, sends_a_message_at_once_and_its_attachment_in_chunks) {
  stream_sender s(side::connected, small_bounds());
  push(s, "a", 25);
  EXPECT_EQ(steps(s), (list{"open 1", "1: 0+10", "1: 10+10", "1: 20+5"}));
  EXPECT_EQ(s.backlog_bytes(), 0U);
}

TEST(stream_sender, an_empty_attachment_has_no_chunks) {
  stream_sender s(side::bound, small_bounds());
  push(s, "a", 0);
  EXPECT_EQ(steps(s), (list{"open 2"}));
}

TEST(stream_sender, stops_at_the_window_until_there_is_credit) {
  stream_sender s(side::connected, small_bounds());
  push(s, "a", 100);
  EXPECT_EQ(steps(s), (list{"open 1", "1: 0+10", "1: 10+10", "1: 20+10", "1: 30+10"}));
  ASSERT_TRUE(s.credited({1, 15}, start));
  EXPECT_EQ(steps(s), (list{"1: 40+10", "1: 50+5"}));
  EXPECT_EQ(s.backlog_bytes(), 45U);
}

TEST(stream_sender, open_streams_take_turns_and_others_wait_in_line) {
  stream_sender s(side::connected, small_bounds());
  push(s, "a", 20);
  push(s, "b", 30);
  push(s, "c", 5);
  EXPECT_EQ(s.waiting(), 3U);
  EXPECT_EQ(steps(s),
            (list{"open 1", "open 3", "1: 0+10", "3: 0+10", "1: 10+10", "open 5", "3: 10+10", "5: 0+5", "3: 20+10"}));
}

TEST(stream_sender, one_without_credit_does_not_hold_up_the_others) {
  stream_sender s(side::connected, small_bounds());
  push(s, "a", 100);
  steps(s);
  push(s, "b", 10);
  EXPECT_EQ(steps(s), (list{"open 3", "3: 0+10"}));
}

TEST(stream_sender, is_bounded_in_one_attachment_and_in_all_of_them) {
  stream_sender s(side::connected, small_bounds());
  EXPECT_EQ(s.push(encode(submit{}), content_of_size(501), "").failure().code, errc::too_large);
  push(s, "a", 500);
  push(s, "b", 500);
  const auto past = s.push(encode(submit{}), content_of_size(1), "");
  ASSERT_FALSE(past);
  EXPECT_EQ(past.failure().code, errc::too_large);
  EXPECT_EQ(past.failure().message, "attachments in line: 1001 bytes, at most 1000");
}

TEST(stream_sender, refuses_credit_that_cannot_be) {
  stream_sender s(side::connected, small_bounds());
  push(s, "a", 100);
  steps(s);
  const struct {
    credit given;
    bool fine;
  } cases[] = {{{1, 41}, false}, {{1, UINT64_MAX}, false}, {{2, 1}, false},
               {{3, 1}, false},  {{1, 40}, true},          {{1, 1}, false}};
  for (const auto& c : cases) {
    EXPECT_EQ(s.credited(c.given, start).ok(), c.fine) << c.given.stream << " " << c.given.bytes;
  }
}

TEST(stream_sender, credit_for_a_stream_that_ended_is_late_and_no_fault) {
  stream_sender s(side::connected, small_bounds());
  push(s, "a", 5);
  steps(s);
  EXPECT_TRUE(s.credited({1, 40}, start));
}

TEST(stream_sender, gives_up_no_stream_for_credit_that_was_not_read) {
  stream_sender s(side::connected, small_bounds());
  push(s, "a", 100);
  steps(s);
  s.not_listened(start + 15s);
  EXPECT_TRUE(s.expire(start + 35s - 1ms).empty());
  EXPECT_EQ(s.expire(start + 35s), (std::vector<std::uint64_t>{1}));
}

TEST(stream_sender, gives_up_a_stream_that_gets_no_credit) {
  stream_sender s(side::connected, small_bounds());
  push(s, "a", 100);
  steps(s);
  EXPECT_TRUE(s.expire(start + 20s - 1ms).empty());
  EXPECT_EQ(s.expire(start + 20s), (std::vector<std::uint64_t>{1}));
  EXPECT_EQ(s.backlog_bytes(), 0U);
}

TEST(stream_sender, an_abort_frees_its_place_in_line) {
  stream_sender s(side::connected, small_bounds());
  push(s, "a", 100);
  push(s, "b", 100);
  push(s, "c", 10);
  steps(s);
  EXPECT_TRUE(s.abort(1));
  EXPECT_FALSE(s.abort(1));
  EXPECT_EQ(steps(s), (list{"open 5", "5: 0+10"}));
}

attachment_info announce(std::uint64_t stream, const bytes& content) {
  return {stream, content.size(), digest_hex(content)};
}

bytes part(const bytes& whole, std::size_t from, std::size_t size) {
  const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(from);
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

struct receiving : ::testing::Test {
  stream_receiver r{side::bound, small_bounds()};
  bytes whole = pattern_bytes(100);

  void open(std::uint64_t stream = 1) {
    const auto opened = r.open(submit{"a"}, announce(stream, whole), start);
    ASSERT_TRUE(opened) << to_string(opened.failure());
    ASSERT_FALSE(*opened);
  }
  result<stream_receiver::reception> feed(std::size_t from, std::size_t size, time_point now = start) {
    return r.accept({1, from, part(whole, from, size)}, now);
  }
};

TEST_F(receiving, puts_the_chunks_together_and_delivers_with_the_last) {
  open();
  for (std::size_t at = 0; at < 90; at += 10) {
    const auto taken = feed(at, 10);
    ASSERT_TRUE(taken) << to_string(taken.failure());
    EXPECT_FALSE(taken->complete);
  }
  EXPECT_EQ(r.held_bytes(), 90U);
  auto last = feed(90, 10);
  ASSERT_TRUE(last);
  ASSERT_TRUE(last->complete);
  EXPECT_EQ(std::get<submit>(last->complete->head).graph_key, "a");
  EXPECT_EQ(*last->complete->content, whole);
  EXPECT_EQ(r.held_bytes(), 0U);
}

TEST_F(receiving, gives_credit_by_half_windows_and_never_more_than_is_left) {
  open();
  std::vector<std::string> grants;
  for (std::size_t at = 0; at < 100; at += 10) {
    const auto taken = feed(at, 10);
    ASSERT_TRUE(taken);
    if (taken->grant) grants.push_back(std::to_string(at + 10) + ": " + std::to_string(taken->grant->bytes));
  }
  EXPECT_EQ(grants, (list{"20: 20", "40: 20", "60: 20"}));
}

TEST_F(receiving, an_empty_attachment_is_complete_at_once) {
  auto opened = r.open(submit{"a"}, announce(1, {}), start);
  ASSERT_TRUE(opened);
  ASSERT_TRUE(*opened);
  EXPECT_TRUE((*opened)->content->empty());
}

TEST_F(receiving, bytes_that_do_not_match_their_digest_are_corrupt) {
  open();
  whole[55] ^= std::byte{1};
  for (std::size_t at = 0; at < 90; at += 10) ASSERT_TRUE(feed(at, 10));
  const auto last = feed(90, 10);
  ASSERT_FALSE(last);
  EXPECT_EQ(last.failure().code, errc::corrupt);
}

TEST_F(receiving, refuses_chunks_that_break_the_rules) {
  const struct {
    std::string name;
    std::uint64_t stream;
    std::size_t offset;
    std::size_t size;
    std::string message;
  } cases[] = {
      {"hole", 1, 20, 10, "chunk: stream 1 has a piece at 20, expected 10"},
      {"again", 1, 0, 10, "chunk: stream 1 has a piece at 0, expected 10"},
      {"empty", 1, 10, 0, "chunk: stream 1 has a piece of 0 bytes, 90 are left"},
      {"past the end", 1, 10, 91, "chunk: stream 1 has a piece of 91 bytes, 90 are left"},
      {"ahead of credit", 1, 10, 31, "chunk: stream 1 is ahead of its credit"},
      {"never opened", 3, 0, 10, "chunk: stream 3 was never opened"},
      {"our own number", 2, 0, 10, "chunk: stream 2 was never opened"},
  };
  for (const auto& c : cases) {
    stream_receiver r(side::bound, small_bounds());
    ASSERT_TRUE(r.open(submit{}, announce(1, whole), start));
    ASSERT_TRUE(r.accept({1, 0, part(whole, 0, 10)}, start));
    const auto taken = r.accept({c.stream, c.offset, bytes(c.size)}, start);
    ASSERT_FALSE(taken) << c.name;
    EXPECT_EQ(taken.failure().code, errc::protocol) << c.name;
    EXPECT_EQ(taken.failure().message, c.message) << c.name;
  }
}

TEST_F(receiving, refuses_announcements_past_its_bounds) {
  open();
  EXPECT_EQ(r.open(submit{}, announce(1, whole), start).failure().code, errc::protocol) << "a number that was used";
  EXPECT_EQ(r.open(submit{}, announce(2, whole), start).failure().code, errc::protocol) << "a number of the other side";
  EXPECT_EQ(r.open(submit{}, {3, 501, ""}, start).failure().code, errc::too_large) << "one attachment";
  open(3);
  EXPECT_EQ(r.open(submit{}, announce(5, whole), start).failure().code, errc::too_large) << "a third stream";

  auto bounds = small_bounds();
  bounds.backlog_bytes_max = 150;
  stream_receiver tight(side::bound, bounds);
  ASSERT_TRUE(tight.open(submit{}, announce(1, whole), start));
  EXPECT_EQ(tight.open(submit{}, announce(3, whole), start).failure().code, errc::too_large) << "all together";
}

TEST_F(receiving, gives_up_no_stream_for_what_was_not_read) {
  open();
  ASSERT_TRUE(feed(0, 10, start + 5s));
  r.not_listened(start + 20s);
  EXPECT_TRUE(r.expire(start + 40s - 1ms).empty());
  EXPECT_EQ(r.expire(start + 40s), (std::vector<std::uint64_t>{1}));
}

TEST_F(receiving, gives_up_a_silent_stream_and_passes_over_what_still_comes_of_it) {
  open();
  ASSERT_TRUE(feed(0, 10, start + 5s));
  EXPECT_TRUE(r.expire(start + 25s - 1ms).empty());
  EXPECT_EQ(r.expire(start + 25s), (std::vector<std::uint64_t>{1}));
  EXPECT_EQ(r.held_bytes(), 0U);
  const auto late = feed(10, 10);
  ASSERT_TRUE(late);
  EXPECT_FALSE(late->grant);
  EXPECT_FALSE(late->complete);
}

TEST_F(receiving, an_abort_frees_what_was_announced) {
  open();
  EXPECT_TRUE(r.abort(1));
  EXPECT_FALSE(r.abort(1));
  open(3);
  open(5);
}

}  // namespace
}  // namespace fxfarm::net
