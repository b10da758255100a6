#include "runtime/frame_codec.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

std::string framed(std::string_view body) {
  const auto prefix = frame_prefix(body.size());
  return std::string(text_of(prefix)) + std::string(body);
}

struct collector {
  std::vector<std::string> frames;
  std::function<void(bytes)> sink() {
    return [this](bytes b) { frames.emplace_back(text_of(b)); };
  }
};

}  // namespace

TEST(frame_codec, a_length_is_4_bytes_big_endian) {
  EXPECT_EQ(text_of(frame_prefix(0x01020304)), std::string_view("\1\2\3\4"));
  EXPECT_EQ(text_of(frame_prefix(5)), std::string_view("\0\0\0\5", 4));
}

TEST(frame_parser, finds_the_same_frames_however_the_stream_is_cut) {
  const std::string stream = framed("one") + framed(std::string(300, 'x')) + framed("3");
  for (std::size_t step = 1; step <= stream.size(); ++step) {
    frame_parser parser;
    collector got;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      ASSERT_TRUE(parser.feed(view_of(std::string_view(stream).substr(at, step)), got.sink()));
    }
    EXPECT_EQ(got.frames, (std::vector<std::string>{"one", std::string(300, 'x'), "3"})) << step;
    EXPECT_TRUE(parser.between_frames());
  }
}

TEST(frame_parser, knows_when_a_frame_is_cut) {
  const auto stream = framed("four");
  collector got;
  for (std::size_t length = 1; length < stream.size(); ++length) {
    frame_parser parser;
    ASSERT_TRUE(parser.feed(view_of(std::string_view(stream).substr(0, length)), got.sink()));
    EXPECT_FALSE(parser.between_frames()) << length;
  }
  EXPECT_TRUE(got.frames.empty());
}

TEST(frame_parser, takes_a_frame_as_long_as_its_bound_and_none_longer) {
  collector got;
  frame_parser exact(8);
  EXPECT_TRUE(exact.feed(view_of(framed("12345678")), got.sink()));
  EXPECT_EQ(got.frames.size(), 1u);
  frame_parser longer(8);
  const auto refused = longer.feed(view_of(framed("123456789")), got.sink());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code, errc::protocol);
  EXPECT_EQ(got.frames.size(), 1u);
}

TEST(frame_parser, takes_text_and_empty_frames_for_garbage_and_stays_broken) {
  for (std::string_view garbage :
       {std::string_view("Traceback (most recent call last)"), std::string_view("\0\0\0\0", 4)}) {
    frame_parser parser;
    collector got;
    ASSERT_TRUE(parser.feed(view_of(framed("good")), got.sink()));
    EXPECT_EQ(parser.feed(view_of(garbage), got.sink()).failure().code, errc::protocol);
    EXPECT_EQ(parser.feed(view_of(framed("good again")), got.sink()).failure().code, errc::protocol);
    EXPECT_EQ(got.frames, std::vector<std::string>{"good"});
  }
}

TEST(frame_allowance, ends_with_so_many_frames_or_bytes_and_is_renewed) {
  frame_allowance allowance(3, 10);
  for (int round = 0; round < 2; ++round) {
    for (std::size_t length : {1u, 5u, 4u}) EXPECT_TRUE(allowance.take(length)) << length;
    EXPECT_EQ(to_string(allowance.take(0).failure()),
              "protocol: more than 3 frames in a row that nothing was sent for");
    allowance.renew();
    EXPECT_TRUE(allowance.take(9));
    EXPECT_EQ(to_string(allowance.take(2).failure()),
              "protocol: more than 10 bytes of frames in a row that nothing was sent for");
    EXPECT_TRUE(allowance.take(1));
    allowance.renew();
  }
}
