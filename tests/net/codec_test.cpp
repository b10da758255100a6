#include "net/codec.hpp"

#include "golden.hpp"
#include "runtime/digest.hpp"
#include "runtime/limits.hpp"

#include <random>
#include <set>

#include <gtest/gtest.h>

namespace fxfarm::net {
namespace {

using namespace std::string_view_literals;

std::string map_of(std::string_view type, std::string_view body) {
  return "\x82\xa4type" + std::string(1, static_cast<char>(0xA0 + type.size())) + std::string(type) +
         "\xa4"
         "body" +
         std::string(body);
}

// msgpack's forms with a 16 and a 32 bit length.
std::string str16(std::size_t size) {
  return {'\xda', static_cast<char>(size >> 8), static_cast<char>(size)};
}
std::string len32(char form, std::size_t size) {
  return {form, static_cast<char>(size >> 24), static_cast<char>(size >> 16), static_cast<char>(size >> 8),
          static_cast<char>(size)};
}

TEST(codec, golden_bytes_cover_every_message) {
  std::set<std::size_t> kinds;
  for (const auto& g : golden_messages()) kinds.insert(g.content.index());
  EXPECT_EQ(kinds.size(), std::variant_size_v<message>);
}

TEST(codec, encodes_every_message_to_its_golden_bytes) {
  for (const auto& g : golden_messages()) EXPECT_EQ(text_of(encode(g.content)), g.wire) << tag_of(g.content);
}

// The golden messages have no field at its default, so a field that were not read would be missed when it is encoded
// again.
TEST(codec, decodes_golden_bytes_to_every_message) {
  for (const auto& g : golden_messages()) {
    const auto came = decode(view_of(g.wire));
    ASSERT_TRUE(came) << to_string(came.failure());
    EXPECT_EQ(came->content.index(), g.content.index());
    EXPECT_FALSE(came->attachment);
    EXPECT_EQ(text_of(encode(came->content)), g.wire) << tag_of(g.content);
  }
}

// What is not written as our own side does is read another way, to the same end.
TEST(codec, decodes_every_message_with_a_field_that_it_does_not_know) {
  for (const auto& g : golden_messages()) {
    auto frame = std::string(g.wire) + "\xa1x\x91\xc0";
    ++frame.front();  // of a map of two
    const auto came = decode(view_of(frame));
    ASSERT_TRUE(came) << to_string(came.failure());
    EXPECT_EQ(text_of(encode(came->content)), g.wire) << tag_of(g.content);
  }
}

TEST(codec, an_attachment_is_announced_with_its_message) {
  const attachment_info info{1, 300, std::string(64, 'f')};
  EXPECT_EQ(text_of(announce(encode(submit{"g1"}), info)), golden_attachment);
  const auto came = decode(view_of(golden_attachment));
  ASSERT_TRUE(came);
  ASSERT_TRUE(came->attachment);
  EXPECT_EQ(came->attachment->stream, 1U);
  EXPECT_EQ(came->attachment->size, 300U);
  EXPECT_EQ(came->attachment->digest, info.digest);
}

TEST(codec, a_small_attachment_is_enclosed_in_its_message) {
  const auto content = to_bytes("abc");
  const auto frame = enclose(encode(submit{"g1"}), content, digest_hex(content));
  EXPECT_EQ(text_of(frame), golden_enclosed);
  EXPECT_LE(frame.size(), encode(submit{"g1"}).size() + content.size() + enclosing_bytes);
  const auto came = decode(view_of(golden_enclosed));
  ASSERT_TRUE(came) << to_string(came.failure());
  EXPECT_FALSE(came->attachment);
  ASSERT_TRUE(came->enclosed);
  EXPECT_EQ(*came->enclosed, content);
}

TEST(codec, the_tag_is_found_in_what_was_encoded) {
  for (const auto& g : golden_messages()) EXPECT_EQ(tag_in(view_of(g.wire)), tag_of(g.content));
  EXPECT_EQ(tag_in(view_of(golden_enclosed)), "submit");
  EXPECT_EQ(tag_in(view_of("\x82\xa4typ"sv)), "");
  EXPECT_EQ(tag_in(view_of("\x82\xa5other"sv)), "");
}

TEST(codec, a_chunk_ends_with_its_data) {
  for (const std::size_t size : {1U, 300U, 70'000U}) {
    const bytes data(size, std::byte{'x'});
    auto frame = encode_chunk_head(3, 70'000, size);
    frame.insert(frame.end(), data.begin(), data.end());
    EXPECT_EQ(frame, encode(chunk{3, 70'000, data})) << size;
  }
}

TEST(codec, unknown_fields_are_passed_over_and_missing_ones_keep_their_defaults) {
  const auto frame = map_of("welcome",
                            "\x82\xa6"
                            "future\x93\x01\x02\x03\xa2id\xa1x");
  const auto came = decode(view_of(frame));
  ASSERT_TRUE(came) << to_string(came.failure());
  const auto& got = std::get<welcome>(came->content);
  EXPECT_EQ(got.id, "x");
  EXPECT_EQ(got.version, wire_version);
}

TEST(codec, fields_may_come_in_any_order) {
  const auto came =
      decode(view_of("\x82\xa4"
                     "body\x82\xa6reason\xa1r\xa4"
                     "code\xa4"
                     "busy\xa4type\xa8rejected"sv));
  ASSERT_TRUE(came) << to_string(came.failure());
  EXPECT_EQ(std::get<rejected>(came->content).code, "busy");
  EXPECT_EQ(std::get<rejected>(came->content).reason, "r");
}

TEST(codec, a_message_without_a_body_has_the_defaults) {
  const auto came = decode(view_of("\x81\xa4type\xa7welcome"sv));
  ASSERT_TRUE(came);
  EXPECT_EQ(std::get<welcome>(came->content).version, wire_version);
}

TEST(codec, whole_numbers_are_numbers) {
  const auto came = decode(view_of(map_of("stage_ready", "\x81\xadqueue_seconds\x02")));
  ASSERT_TRUE(came);
  EXPECT_EQ(std::get<stage_ready>(came->content).queue_seconds, 2.0);
}

// msgpack-c shortens them; so they are no part of the golden bytes.
TEST(codec, whole_seconds_survive_the_way) {
  switched s;
  s.load_seconds = 3.0;
  const auto came = decode(encode(s));
  ASSERT_TRUE(came);
  EXPECT_EQ(std::get<switched>(came->content).load_seconds, 3.0);
}

TEST(codec, texts_for_people_are_cut_to_what_a_peer_accepts) {
  const auto frame = encode(goodbye{std::string(limits::text_bytes_max - 1, 'x') + "\xC3\xA9"});
  const auto came = decode(frame);
  ASSERT_TRUE(came);
  EXPECT_EQ(std::get<goodbye>(came->content).reason, std::string(limits::text_bytes_max - 1, 'x'))
      << "a character is kept as a whole or not at all";
}

TEST(codec, refuses_what_is_malformed_and_says_where) {
  const auto lookup_with = [](std::string_view stages) {
    return map_of("lookup", "\x81\xa6stages" + std::string(stages));
  };
  const std::string long_text = str16(limits::text_bytes_max + 1) + std::string(limits::text_bytes_max + 1, 'x');
  const std::string attached =
      "\x82\xa4type\xa6submit\xaa"
      "attachment";
  const std::string digest =
      "\xa6"
      "digest\xd9\x40" +
      std::string(64, 'a');
  std::string seventeen_stages = "\xdc";
  seventeen_stages += "\0\x11"sv;
  seventeen_stages += std::string(17, '\x80');

  const struct {
    std::string name;
    std::string frame;
    errc code;
    std::string message;
  } cases[] = {
      {"empty", "", errc::protocol, "message: no msgpack: insufficient bytes"},
      {"cut off", "\x82\xa4type\xa9heart", errc::protocol, "message: no msgpack: insufficient bytes"},
      {"byte that msgpack never uses", "\xc1", errc::protocol, "message: no msgpack: parse error"},
      {"no map", "\x93\x01\x02\x03", errc::protocol, "message: expected a map"},
      {"no type", "\x80", errc::protocol, "type: missing"},
      {"type is no text", "\x81\xa4type\x07", errc::protocol, "type: expected a string"},
      {"unknown type",
       "\x81\xa4type\xa4"
       "bo\x01\"",
       errc::protocol, "type: \"bo?\"\" is no message"},
      {"bytes after the end", map_of("heartbeat", "\x80") + "xy", errc::protocol, "message: 2 bytes follow its end"},
      {"body is no map", map_of("heartbeat", "\x01"), errc::protocol, "heartbeat: expected a map"},
      {"text", lookup_with("\x92\x80\x81\xa4name\x01"), errc::protocol, "lookup.stages[1].name: expected a string"},
      {"list", lookup_with("\xa1x"), errc::protocol, "lookup.stages: expected a list"},
      {"map", lookup_with("\x91\x81\xa7options\x90"), errc::protocol, "lookup.stages[0].options: expected a map"},
      {"map's key", lookup_with("\x91\x81\xa7options\x81\x01\x02"), errc::protocol,
       "lookup.stages[0].options[0].key: expected a string"},
      {"map's value", lookup_with("\x91\x81\xa7options\x81\xa1k\x02"), errc::protocol,
       "lookup.stages[0].options[0]: expected a string"},
      {"number", map_of("stage_ready", "\x81\xadqueue_seconds\xa1x"), errc::protocol,
       "stage_ready.queue_seconds: expected a number"},
      {"not a number", map_of("stage_ready", "\x81\xadqueue_seconds\xca\x7f\xc0" + std::string(2, '\0')),
       errc::protocol, "stage_ready.queue_seconds: expected a finite number"},
      {"negative",
       map_of("credit",
              "\x81\xa5"
              "bytes\xff"),
       errc::protocol, "credit.bytes: expected an integer, not negative"},
      {"too wide", map_of("hello", "\x81\xa7version" + std::string("\xcf\0\0\0\1\0\0\0\0", 9)), errc::protocol,
       "hello.version: expected an integer below 2^32"},
      {"truth",
       map_of("worker_offer",
              "\x81\xa8"
              "draining\x01"),
       errc::protocol, "worker_offer.draining: expected true or false"},
      {"bytes",
       map_of("chunk",
              "\x81\xa4"
              "data\xa1x"),
       errc::protocol, "chunk.data: expected bytes"},
      {"inner struct", map_of("lookup", "\x81\xa6target\x81\xa6python" + std::string(1, '\0')), errc::protocol,
       "lookup.target.python: expected a string"},
      {"long text", map_of("goodbye", "\x81\xa6reason" + long_text), errc::too_large,
       "goodbye.reason: 4097 bytes of text, at most 4096"},
      {"many stages", lookup_with(seventeen_stages), errc::too_large, "lookup.stages: 17 items, at most 16"},
      {"a list that claims to be huge", lookup_with(len32('\xdd', 0xFFFFFFFF)), errc::too_large,
       "message: array size overflow"},
      {"a map that claims to be huge", len32('\xdf', 0xFFFFFFFF), errc::too_large, "message: map size overflow"},
      {"a text that claims to be huge", len32('\xdb', 0xFFFFFFFF), errc::protocol,
       "message: no msgpack: insufficient bytes"},
      {"bytes that claim to be huge", len32('\xc6', 0xFFFFFFFF), errc::protocol,
       "message: no msgpack: insufficient bytes"},
      {"deep", map_of("heartbeat", std::string(100, '\x91')), errc::too_large, "message: depth size overflow"},
      {"a frame past the bound", std::string(limits::frame_bytes_max + 1, '\0'), errc::too_large,
       "message: 1048577 bytes, at most 1048576"},
      {"attachment is no map", attached + "\x01", errc::protocol, "submit: attachment: expected a map"},
      {"attachment without a stream", attached + "\x81" + digest, errc::protocol,
       "submit: attachment.stream: expected a stream's number"},
      {"attachment without a digest", attached + "\x81\xa6stream\x01", errc::protocol,
       "submit: attachment.digest: expected 64 hex digits"},
      {"attachment past the bound", attached + "\x83\xa6stream\x01\xa4size" + len32('\xce', 0x40000001) + digest,
       errc::too_large, "submit: attachment.size: 1073741825 bytes, at most 1073741824"},
      {"enclosed without a digest", attached + "\x81\xa4" + "data\xc4\x01x", errc::protocol,
       "submit: attachment.digest: expected 64 hex digits"},
      {"enclosed with another's digest", attached + "\x82" + digest + "\xa4" + "data\xc4\x01x", errc::corrupt,
       "submit: attachment.data: does not match its digest"},
      {"enclosed and in a stream", attached + "\x83\xa6stream\x01" + digest + "\xa4" + "data\xc4\x01x", errc::protocol,
       "submit: attachment: both enclosed and in a stream"},
      {"enclosed past the bound",
       attached + "\x82" + digest + "\xa4" + "data" + len32('\xc6', limits::enclosed_bytes_max + 1) +
           std::string(limits::enclosed_bytes_max + 1, '\0'),
       errc::too_large, "submit: attachment.data: 32769 bytes, at most 32768"},
  };
  for (const auto& c : cases) {
    const auto came = decode(view_of(c.frame));
    ASSERT_FALSE(came) << c.name;
    EXPECT_EQ(came.failure().code, c.code) << c.name;
    EXPECT_EQ(came.failure().message, c.message) << c.name;
  }
}

// Whatever the bytes, decode returns; and what it accepts can be encoded and is accepted again.
TEST(codec, survives_any_mutation_of_its_messages) {
  std::mt19937 random(20'240'607);
  const auto corpus = golden_messages();
  std::size_t accepted = 0;
  std::size_t refused = 0;
  for (int round = 0; round < 50'000; ++round) {
    bytes frame = to_bytes(corpus[random() % corpus.size()].wire);
    for (auto edits = 1 + random() % 4; edits > 0 && !frame.empty(); --edits) {
      const auto at = frame.begin() + static_cast<std::ptrdiff_t>(random() % frame.size());
      switch (random() % 4) {
        case 0:
          *at = static_cast<std::byte>(random());
          break;
        case 1:
          frame.erase(at);
          break;
        case 2:
          frame.insert(at, static_cast<std::byte>(random()));
          break;
        default:
          frame.resize(static_cast<std::size_t>(at - frame.begin()));
          break;
      }
    }
    const auto came = decode(frame);
    if (!came) {
      ++refused;
      EXPECT_FALSE(came.failure().message.empty());
      continue;
    }
    ++accepted;
    auto again = encode(came->content);
    if (came->attachment) again = announce(std::move(again), *came->attachment);
    EXPECT_TRUE(decode(again));
  }
  EXPECT_GT(accepted, 100U);
  EXPECT_GT(refused, 1'000U);
}

}  // namespace
}  // namespace fxfarm::net
