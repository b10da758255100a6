#include "net/msgpack_items.hpp"

#include "runtime/limits.hpp"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <msgpack.hpp>

namespace fxfarm::net {
namespace {

using namespace std::string_view_literals;
using kind = item::kind;

// The one item that the bytes are.
item only(std::string_view bytes) {
  item_reader in(bytes);
  item out;
  EXPECT_TRUE(in.next(out)) << to_string(in.fault());
  EXPECT_TRUE(in.rest().empty());
  return out;
}

template <class T>
item packed(const T& value) {
  msgpack::sbuffer buffer;
  msgpack::pack(buffer, value);
  return only({buffer.data(), buffer.size()});
}

TEST(msgpack_items, numbers_of_every_width_are_what_another_encoder_wrote) {
  for (const std::int64_t n : {0L, 1L, 127L, 128L, 255L, 256L, 65'535L, 65'536L, 4'294'967'295L, 4'294'967'296L,
                               std::numeric_limits<std::int64_t>::max()}) {
    const auto got = packed(n);
    EXPECT_EQ(got.what, kind::positive) << n;
    EXPECT_EQ(got.number, static_cast<std::uint64_t>(n));
  }
  for (const std::int64_t n : {-1L, -32L, -33L, -128L, -129L, -32'768L, -32'769L, -2'147'483'648L, -2'147'483'649L,
                               std::numeric_limits<std::int64_t>::min()}) {
    const auto got = packed(n);
    EXPECT_EQ(got.what, kind::negative) << n;
    EXPECT_EQ(static_cast<std::int64_t>(got.number), n);
  }
  EXPECT_EQ(packed(std::numeric_limits<std::uint64_t>::max()).number, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(packed(0.1).real, 0.1);
  EXPECT_EQ(packed(0.5F).real, 0.5);
}

TEST(msgpack_items, a_signed_form_of_a_number_that_is_not_negative_is_positive) {
  const auto got = only("\xd1\x01\x02"sv);
  EXPECT_EQ(got.what, kind::positive);
  EXPECT_EQ(got.number, 0x0102U);
}

TEST(msgpack_items, texts_and_bytes_of_every_length_stay_where_they_are) {
  for (const std::size_t size : {0U, 1U, 31U, 32U, 255U, 256U, 65'535U, 65'536U}) {
    const std::string text(size, 'x');
    EXPECT_EQ(packed(text).what, kind::text);
    EXPECT_EQ(packed(text).data.size(), size);
    EXPECT_EQ(packed(std::vector<char>(text.begin(), text.end())).what, kind::binary);
    EXPECT_EQ(packed(std::vector<char>(text.begin(), text.end())).data.size(), size);
  }
}

TEST(msgpack_items, the_rest_is_what_it_says) {
  EXPECT_EQ(only("\xc0"sv).what, kind::nil);
  EXPECT_FALSE(only("\xc2"sv).truth);
  EXPECT_TRUE(only("\xc3"sv).truth);
  EXPECT_EQ(only("\x93"sv).count, 3U);
  EXPECT_EQ(only("\xdc\x00\x03"sv).count, 3U);
  EXPECT_EQ(only("\x82"sv).what, kind::map);
  EXPECT_EQ(only("\xdf\x00\x00\x00\x02"sv).count, 2U);
  EXPECT_EQ(only("\xc7\x00\x05"sv).what, kind::extension);
}

TEST(msgpack_items, skipping_goes_past_all_that_belongs_to_a_value) {
  item_reader in("\x82\xa1k\x92\x01\x02\x81\xa1m\xc0\x03\x07"sv);
  item head;
  ASSERT_TRUE(in.next(head));
  EXPECT_TRUE(in.skip(head, 1));
  EXPECT_EQ(in.rest(), "\x07"sv);
}

// What stands between limits must not be read past the end, whatever a length says.
TEST(msgpack_items, every_prefix_of_a_value_is_cut_off) {
  msgpack::sbuffer buffer;
  msgpack::packer<msgpack::sbuffer> to(buffer);
  to.pack_map(2);
  to.pack(std::string(300, 'k'));
  to.pack(std::vector<std::int64_t>{1, 1'000, 100'000, -100'000});
  to.pack(std::string("v"));
  to.pack(0.25);
  for (std::size_t size = 0; size < buffer.size(); ++size) {
    item_reader in({buffer.data(), size});
    item head;
    ASSERT_FALSE(in.next(head) && in.skip(head, 1)) << size;
    EXPECT_EQ(in.fault().code, errc::protocol);
  }
}

TEST(msgpack_items, lists_and_maps_are_bounded_in_length_and_in_depth) {
  item head;
  item_reader many("\xdd\x00\x00\x27\x11"sv);
  EXPECT_FALSE(many.next(head));
  EXPECT_EQ(many.fault().code, errc::too_large);
  for (const auto& [depth, fine] :
       {std::pair{limits::message_depth_max, true}, {limits::message_depth_max + 1, false}}) {
    const auto nested = std::string(depth - 1, '\x91') + "\x90";
    item_reader in(nested);
    ASSERT_TRUE(in.next(head));
    EXPECT_EQ(in.skip(head, 1), fine) << depth;
  }
}

}  // namespace
}  // namespace fxfarm::net
