#include "runtime/artifact_signature.hpp"

#include "scratch_directory.hpp"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace fxfarm {
namespace {

// The first pair of RFC 8032, section 7.1.
const key_pair known{"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                     "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"};

std::string hex(char c) {
  return std::string(64, c);
}

artifact_facts facts() {
  return {hex('a'), hex('d'), 1000};
}

TEST(artifact_signature, covers_a_text_that_has_one_reading) {
  const auto le = [](unsigned char n) { return std::string(1, static_cast<char>(n)) + std::string(7, '\0'); };
  EXPECT_EQ(text_of(signed_text(facts())),
            le(17) + "fxfarm artifact 1" + le(64) + hex('a') + le(64) + hex('d') + le(4) + "1000");
  // The ends of fields are part of the text: what moves from one to the next makes another.
  EXPECT_NE(signed_text({"ab", "c", 1}), signed_text({"a", "bc", 1}));
  EXPECT_NE(signed_text({"a", "b1", 2}), signed_text({"a", "b", 12}));
}

TEST(artifact_signature, is_the_one_that_the_standard_gives) {
  const auto signer = artifact_signer::of(known);
  ASSERT_TRUE(signer) << to_string(signer.failure());
  const auto made = signer->sign(facts());
  EXPECT_EQ(made.signer, known.public_key);
  EXPECT_EQ(made.value.size(), signature_chars);
  EXPECT_EQ(signer->sign(facts()), made) << "one text has one signature";
  EXPECT_TRUE(is_signed(facts(), made));
}

TEST(artifact_signature, holds_for_nothing_else) {
  const auto signer = *artifact_signer::of(known);
  const auto other = *artifact_signer::of(make_signing_keys());
  const auto good = signer.sign(facts());
  const auto with = [](artifact_facts f, auto change) {
    change(f);
    return f;
  };
  const auto by = [&](auto change) {
    auto s = good;
    change(s);
    return s;
  };
  const struct {
    const char* name;
    artifact_facts what;
    artifact_signature signature;
  } cases[] = {
      {"another stage", with(facts(), [](auto& f) { f.stage_key = hex('b'); }), good},
      {"other bytes", with(facts(), [](auto& f) { f.digest.back() = 'e'; }), good},
      {"another size", with(facts(), [](auto& f) { ++f.bytes; }), good},
      {"key and digest exchanged", {hex('d'), hex('a'), 1000}, good},
      {"no signature", facts(), {}},
      {"no value", facts(), by([](auto& s) { s.value.clear(); })},
      {"no signer", facts(), by([](auto& s) { s.signer.clear(); })},
      {"another's name", facts(), by([&](auto& s) { s.signer = other.public_key(); })},
      {"another's signature", facts(), by([&](auto& s) { s.value = other.sign(facts()).value; })},
      {"a bit flipped", facts(), by([](auto& s) { s.value[0] = s.value[0] == '0' ? '1' : '0'; })},
      {"truncated", facts(), by([](auto& s) { s.value.resize(s.value.size() - 2); })},
      {"longer", facts(), by([](auto& s) { s.value += "00"; })},
      {"in capitals", facts(), by([](auto& s) {
         for (auto& c : s.value) c = c >= 'a' ? char(c - 32) : c;
       })},
      {"no digits", facts(), by([](auto& s) { s.value.assign(signature_chars, 'x'); })},
      {"with an end inside", facts(), by([](auto& s) { s.value[64] = '\0'; })},
      {"zeros", facts(), {std::string(64, '0'), std::string(128, '0')}},
      {"a key that all points have, and zeros", facts(), {"01" + std::string(62, '0'), std::string(128, '0')}},
  };
  for (const auto& c : cases) EXPECT_FALSE(is_signed(c.what, c.signature)) << c.name;
  EXPECT_TRUE(is_signed(facts(), good));
}

TEST(artifact_signature, takes_no_pair_that_is_none) {
  const auto other = make_signing_keys();
  EXPECT_NE(other.secret_key, make_signing_keys().secret_key);
  EXPECT_TRUE(artifact_signer::of(other));
  for (const auto& bad : {key_pair{other.public_key, known.secret_key}, key_pair{"", ""},
                          key_pair{other.public_key, ""}, key_pair{other.public_key, other.secret_key + "00"}}) {
    EXPECT_FALSE(artifact_signer::of(bad));
  }
}

TEST(artifact_signature, has_keys_that_are_not_taken_for_a_links) {
  EXPECT_TRUE(is_signing_key(known.public_key));
  EXPECT_FALSE(is_curve_key(known.public_key));
  for (const auto& bad : {std::string(), std::string(40, 'a'), hex('g'), hex('A'), hex('a') + "a"}) {
    EXPECT_FALSE(is_signing_key(bad)) << bad;
  }
}

struct signing_key_file : testing::Test {
  std::string write(const std::string& text, ::mode_t mode = 0600) const {
    std::ofstream(path(), std::ios::binary) << text;
    ::chmod(path().c_str(), mode);
    return path();
  }
  std::string refused() const { return to_string(artifact_signer::read("signing_key", path()).failure()); }
  std::string path() const { return (directory.path() / "key").string(); }
  std::string refusal(const std::string& why) const { return "bad_config: signing_key: " + path() + why; }
  scratch_directory directory;
};

TEST_F(signing_key_file, has_the_pair_that_was_written) {
  const auto got = artifact_signer::read("signing_key", write(render_signing_secret(known)));
  ASSERT_TRUE(got) << to_string(got.failure());
  EXPECT_TRUE(is_signed(facts(), got->sign(facts())));
  EXPECT_EQ(got->public_key(), known.public_key);
  EXPECT_EQ(render_signing_public(known).find(known.secret_key), std::string::npos);
}

TEST_F(signing_key_file, is_its_owners_alone) {
  write(render_signing_secret(known), 0640);
  EXPECT_EQ(refused(), refusal(" is open to other users; run: chmod 600 " + path()));
}

TEST_F(signing_key_file, without_a_pair_is_refused) {
  write(render_signing_public(known));
  EXPECT_EQ(refused(), refusal(" has no secret key; `fxfarm keygen --signing` makes such a file"));
  write(render_signing_secret({hex('a'), known.secret_key}));
  EXPECT_EQ(refused(), refusal(" has no pair of keys that sign; `fxfarm keygen --signing` makes such a file"));
  write(render_secret_key({std::string(40, '0'), std::string(40, '0')}));
  EXPECT_EQ(refused(), refusal(" has a link's key; `fxfarm keygen --signing` makes one to sign"));
}

}  // namespace
}  // namespace fxfarm
