#include "runtime/digest.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

// The same values as Python's hashlib.blake2b(data, digest_size=32).
TEST(digest, gives_the_known_answers_of_blake2b_256) {
  EXPECT_EQ(digest_hex({}), "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
  EXPECT_EQ(digest_hex(view_of("abc")), "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

TEST(digest, of_a_stream_does_not_depend_on_its_pieces) {
  const auto whole = digest_builder().append(view_of("abc")).finish();
  EXPECT_EQ(whole, digest_hex(view_of("abc")));
  EXPECT_EQ(digest_builder().append(view_of("a")).append({}).append(view_of("bc")).finish(), whole);
}

TEST(digest, fields_with_the_same_text_in_other_places_differ) {
  EXPECT_NE(digest_builder().field("ab").field("c").finish(), digest_builder().field("a").field("bc").finish());
  EXPECT_NE(digest_builder().field("").field("a").finish(), digest_builder().field("a").field("").finish());
  EXPECT_NE(digest_builder().field("a").finish(), digest_builder().field("a").field("").finish());
}

TEST(digest, a_field_is_hashed_after_its_length_in_8_little_endian_bytes) {
  EXPECT_EQ(digest_builder().field("ab").field("c").finish(),
            digest_builder().append(view_of({"\2\0\0\0\0\0\0\0ab\1\0\0\0\0\0\0\0c", 19})).finish());
}

TEST(digest, is_recognized_by_its_form) {
  const std::string good(64, 'a');
  EXPECT_TRUE(is_digest(good));
  EXPECT_TRUE(is_digest("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
  for (const auto& bad : {std::string(), std::string(63, 'a'), std::string(65, 'a'), std::string(64, 'A'),
                          std::string(64, 'g'), "../" + std::string(61, 'a'), std::string(63, 'a') + '\0'}) {
    EXPECT_FALSE(is_digest(bad)) << bad;
  }
}

TEST(digest, secrets_are_equal_only_as_a_whole) {
  EXPECT_TRUE(equal_secrets("0123456789abcdef", "0123456789abcdef"));
  EXPECT_TRUE(equal_secrets("", ""));
  for (const char* other : {"", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0", "X123456789abcdef"}) {
    EXPECT_FALSE(equal_secrets(other, "0123456789abcdef")) << other;
  }
}
