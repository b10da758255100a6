#include "net/session.hpp"

#include "peers.hpp"
#include "runtime/digest.hpp"

#include <limits>
#include <map>

#include <gtest/gtest.h>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

constexpr time_point start{};

// One end of a link whose socket is this struct.
struct end {
  explicit end(side own = side::connected, link_options options = {}) : link(own, options, counters, start) {}

  // What it writes now, by tag; the socket takes `room` frames.
  std::vector<std::string> written(time_point now = start, std::size_t room = 1'000) {
    std::vector<std::string> tags;
    outcome = link.flush(
        [&](const frame& what) {
          if (frames.size() >= room) return session::write_result::full;
          frames.push_back(what.head);
          frames.back().insert(frames.back().end(), what.tail.begin(), what.tail.end());
          return session::write_result::written;
        },
        now);
    for (const auto& f : frames) tags.emplace_back(tag_of(decode(f)->content));
    sent.insert(sent.end(), frames.begin(), frames.end());
    frames.clear();
    return tags;
  }

  result<void> push(const message& what, blob attachment = nullptr, std::string digest = {}) {
    return link.push(encode(what), std::move(attachment), std::move(digest));
  }

  link_counters counters;
  session link;
  std::vector<bytes> frames;
  std::vector<bytes> sent;
  session::write_result outcome = session::write_result::written;
};

using list = std::vector<std::string>;

TEST(session, a_heartbeat_is_due_when_nothing_else_was_sent) {
  end e;
  EXPECT_EQ(e.link.deadline(), start + 2s);
  ASSERT_TRUE(e.link.tick(start + 1s));
  EXPECT_EQ(e.written(start + 1s), list{});
  ASSERT_TRUE(e.push(need_graph{"g"}));
  EXPECT_EQ(e.written(start + 1s), list{"need_graph"});
  ASSERT_TRUE(e.link.tick(start + 2s));
  EXPECT_EQ(e.written(start + 2s), list{}) << "one second after the last message";
  ASSERT_TRUE(e.link.tick(start + 3s));
  EXPECT_EQ(e.written(start + 3s), list{"heartbeat"});
}

TEST(session, the_faster_of_both_heartbeats_is_kept) {
  end e;
  e.link.adopt_heartbeat(500ms);
  EXPECT_EQ(e.link.deadline(), start + 500ms);
  e.link.adopt_heartbeat(5s);
  EXPECT_EQ(e.link.deadline(), start + 500ms);
  e.link.adopt_heartbeat(0ms);
  EXPECT_EQ(e.link.deadline(), start + 10ms) << "a peer cannot make us spin";
}

TEST(session, silence_ends_it) {
  end e;
  ASSERT_TRUE(e.link.tick(start + 9s));
  e.link.receive({heartbeat{}, {}, nullptr}, start + 9s);
  ASSERT_TRUE(e.link.tick(start + 19s - 1ms));
  const auto silent = e.link.tick(start + 19s);
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.failure().code, errc::timeout);
}

TEST(session, knows_when_the_peer_was_last_heard_whatever_it_said_and_whatever_was_sent_since) {
  end e;
  EXPECT_EQ(e.link.heard(), start) << "its hello";
  time_point last = start;
  for (const message& said : {message(heartbeat{}), message(need_graph{"g"}), message(chunk{1, 0, {}})}) {
    last += 3s;
    e.link.receive({said, {}, nullptr}, last);
    EXPECT_EQ(e.link.heard(), last) << tag_of(said);
    ASSERT_TRUE(e.push(need_graph{"g"}));
    e.written(last + 1s);
    ASSERT_TRUE(e.link.tick(last + 2s));
    EXPECT_EQ(e.link.heard(), last) << "what is sent is not heard";
  }
}

TEST(session, a_full_socket_costs_no_busy_ticks_and_no_heartbeats) {
  end e;
  ASSERT_TRUE(e.push(need_graph{"g"}));
  e.written(start, 0);
  EXPECT_EQ(e.outcome, session::write_result::full);
  ASSERT_TRUE(e.link.tick(start + 2s));
  EXPECT_GT(e.link.deadline(), start + 2s);
  EXPECT_EQ(e.written(start + 2s), list{"need_graph"});
}

TEST(session, nothing_is_lost_when_the_socket_is_full_in_between) {
  end e;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(e.push(need_graph{std::to_string(i)}));
  e.written(start, 2);
  EXPECT_EQ(e.outcome, session::write_result::full);
  e.written(start);
  EXPECT_EQ(e.outcome, session::write_result::written);
  ASSERT_EQ(e.sent.size(), 5U);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(std::get<need_graph>(decode(e.sent[static_cast<std::size_t>(i)])->content).graph_key, std::to_string(i));
  }
  EXPECT_EQ(e.counters.messages_out, 5U);
}

TEST(session, chunks_get_their_turn_among_many_messages_and_messages_among_many_chunks) {
  link_options options;
  options.streams.chunk_bytes = 10;
  end e(side::connected, options);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(e.push(need_graph{}));
  const auto content = make_blob(bytes(30));
  ASSERT_TRUE(e.push(submit{}, content, digest_hex(*content)));
  const auto order = e.written();
  ASSERT_EQ(order.size(), 44U);
  EXPECT_EQ(order[16], "submit");
  EXPECT_EQ(order[33], "chunk");
}

TEST(session, a_small_attachment_comes_within_its_message_when_the_peer_takes_that) {
  const auto small = make_blob(pattern_bytes(100));
  const auto larger = make_blob(pattern_bytes(101));
  end from;
  from.link.adopt_enclosed(100);
  ASSERT_TRUE(from.push(submit{"small"}, small, digest_hex(*small)));
  ASSERT_TRUE(from.push(submit{"larger"}, larger, digest_hex(*larger)));
  EXPECT_EQ(from.written(), (list{"submit", "submit", "chunk"}));
  end to(side::bound);
  std::map<std::string, blob> came;
  for (const auto& frame : from.sent) {
    auto got = to.link.receive(*decode(frame), start);
    if (got.what == session::verdict::deliver) came[std::get<submit>(got.content).graph_key] = got.attachment;
  }
  ASSERT_EQ(came.size(), 2U);
  EXPECT_EQ(*came["small"], *small);
  EXPECT_EQ(*came["larger"], *larger);
}

TEST(session, an_attachment_is_never_enclosed_past_our_own_bound_or_that_of_a_frame) {
  const auto content = make_blob(bytes(limits::enclosed_bytes_max + 1));
  end past_ours;
  past_ours.link.adopt_enclosed(std::numeric_limits<std::uint64_t>::max());
  ASSERT_TRUE(past_ours.push(submit{}, content, digest_hex(*content)));
  EXPECT_EQ(past_ours.written(), (list{"submit", "chunk"}));

  const auto small = make_blob(bytes(limits::enclosed_bytes_max));
  end past_a_frame;
  past_a_frame.link.adopt_enclosed(limits::enclosed_bytes_max);
  // Longer than what decodes, so that it need not be made of many parts.
  const std::string much(limits::frame_bytes_max - limits::enclosed_bytes_max, 'x');
  ASSERT_TRUE(past_a_frame.push(need_graph{much}, small, digest_hex(*small)));
  std::vector<std::size_t> sizes;
  past_a_frame.link.flush(
      [&](const frame& what) {
        sizes.push_back(what.size());
        return session::write_result::written;
      },
      start);
  ASSERT_EQ(sizes.size(), 2U);
  EXPECT_LT(sizes[0], limits::frame_bytes_max);
}

TEST(session, what_waits_for_a_slow_peer_is_bounded) {
  link_options options;
  options.messages_max = 2;
  options.streams.backlog_bytes_max = 1'000;
  end by_number(side::connected, options);
  ASSERT_TRUE(by_number.push(need_graph{}));
  ASSERT_TRUE(by_number.push(need_graph{}));
  EXPECT_EQ(by_number.push(need_graph{}).failure().code, errc::too_large);

  end by_bytes(side::connected, options);
  EXPECT_EQ(by_bytes.push(need_graph{std::string(1'000, 'x')}).failure().code, errc::too_large);
  EXPECT_EQ(by_bytes.push(submit{}, make_blob(bytes(1'001)), "").failure().code, errc::too_large);

  end by_line(side::connected, options);
  ASSERT_TRUE(by_line.push(submit{}, make_blob(bytes(1)), ""));
  ASSERT_TRUE(by_line.push(submit{}, make_blob(bytes(1)), ""));
  EXPECT_EQ(by_line.push(submit{}, make_blob(bytes(1)), "").failure().code, errc::too_large);
}

TEST(session, a_message_that_no_frame_can_hold_is_refused_here_and_not_by_the_peer) {
  end e;
  answer large;
  large.document.resize(limits::frame_bytes_max);
  EXPECT_EQ(e.push(large).failure().code, errc::too_large);
  EXPECT_EQ(e.push(large, make_blob(bytes(1)), "").failure().code, errc::too_large);
}

TEST(session, a_peer_that_gives_no_credit_gets_no_more_than_the_window) {
  end e;
  const auto content = make_blob(bytes(3 * limits::credit_bytes_window));
  ASSERT_TRUE(e.push(submit{}, content, digest_hex(*content)));
  e.written();
  EXPECT_EQ(e.counters.chunk_bytes_out, limits::credit_bytes_window);
}

TEST(session, a_stream_without_progress_is_given_up_and_the_peer_is_told) {
  end e;
  const auto content = make_blob(bytes(2 * limits::credit_bytes_window));
  ASSERT_TRUE(e.push(submit{}, content, digest_hex(*content)));
  e.written();
  for (auto at = 2s; at <= 18s; at += 2s) {
    e.link.receive({heartbeat{}, {}, nullptr}, start + at);
    ASSERT_TRUE(e.link.tick(start + at));
  }
  e.link.receive({heartbeat{}, {}, nullptr}, start + 20s);
  e.written(start + 19s);
  ASSERT_TRUE(e.link.tick(start + 20s));
  EXPECT_EQ(e.written(start + 20s), list{"stream_abort"});
  EXPECT_EQ(e.counters.streams_aborted, 1U);
}

TEST(session, the_end_of_a_connection_carries_the_peers_reason) {
  end e;
  const auto bye = e.link.receive({goodbye{"drained"}, {}, nullptr}, start);
  EXPECT_EQ(bye.what, session::verdict::left);
  EXPECT_EQ(bye.why.code, errc::shutdown);
  EXPECT_EQ(bye.why.message, "drained");
  const auto no = e.link.receive({rejected{"busy", "full"}, {}, nullptr}, start);
  EXPECT_EQ(no.what, session::verdict::left);
  EXPECT_EQ(no.why.code, errc::busy);
}

TEST(session, messages_that_have_no_place_after_the_handshake_break_the_rules) {
  const attachment_info info{2, 1, std::string(64, '0')};
  const envelope cases[] = {
      {hello{}, {}, nullptr},
      {welcome{}, {}, nullptr},
      {heartbeat{}, info, nullptr},
      {chunk{2, 0, bytes(1)}, {}, nullptr},
      {credit{1, 1}, {}, nullptr},
      {submit{}, attachment_info{1, 1, info.digest}, nullptr},
      {heartbeat{}, {}, make_blob(bytes(1))},
  };
  for (const auto& c : cases) {
    end e;
    const auto got = e.link.receive(envelope(c), start);
    EXPECT_EQ(got.what, session::verdict::broke_rules) << tag_of(c.content);
    EXPECT_EQ(got.why.code, errc::protocol) << tag_of(c.content);
  }
}

}  // namespace
}  // namespace fxfarm::net
