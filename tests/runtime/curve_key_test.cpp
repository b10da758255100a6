#include "runtime/curve_key.hpp"

#include "scratch_directory.hpp"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace fxfarm {
namespace {

// ZeroMQ RFC 26 has this pair as its example of a client's.
const key_pair example{"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"};

struct key_files : testing::Test {
  std::string write(const std::string& text, ::mode_t mode = 0600) const {
    std::ofstream(path(), std::ios::binary) << text;
    ::chmod(path().c_str(), mode);
    return path();
  }
  std::string path() const { return (directory.path() / "key").string(); }
  std::string refusal(const std::string& why) const { return "bad_config: key: " + path() + why; }
  scratch_directory directory;
};

TEST(curve_key, is_forty_characters_of_z85_that_stand_for_bytes) {
  const std::string good = example.public_key;
  EXPECT_TRUE(is_curve_key(good));
  EXPECT_TRUE(is_curve_key(std::string(40, '0')));
  for (const auto& bad :
       {std::string(), good + "0", good.substr(1), std::string(39, '0') + "_", std::string(39, '0') + "\"",
        std::string(39, '0') + ",", std::string(40, '#'), std::string(39, '0') + '\0'}) {
    EXPECT_FALSE(is_curve_key(bad)) << bad;
  }
}

TEST_F(key_files, have_the_pair_that_was_written) {
  write(render_secret_key(example));
  const auto got = read_key_pair("key", path());
  ASSERT_TRUE(got) << to_string(got.failure());
  EXPECT_EQ(got->public_key, example.public_key);
  EXPECT_EQ(got->secret_key, example.secret_key);
}

TEST_F(key_files, are_read_as_czmq_and_pyzmq_write_them) {
  write(
      "#   ****  Generated on 2026-01-02 03:04:05.678 by pyzmq  ****\n"
      "#   ZeroMQ CURVE **Secret** Certificate\n"
      "#   DO NOT PROVIDE THIS FILE TO OTHER USERS nor change its permissions.\n\n"
      "metadata\n    name = \"secret-key = no\"\ncurve\n    public-key = \"" +
      example.public_key + "\"\r\n\tsecret-key=\"" + example.secret_key + "\"\n");
  const auto got = read_key_pair("key", path());
  ASSERT_TRUE(got) << to_string(got.failure());
  EXPECT_EQ(got->public_key + got->secret_key, example.public_key + example.secret_key);
}

TEST_F(key_files, with_a_secret_are_their_owners_alone) {
  write(render_secret_key(example), 0640);
  EXPECT_EQ(to_string(read_key_pair("key", path()).failure()),
            refusal(" is open to other users; run: chmod 600 " + path()));
}

TEST_F(key_files, without_what_is_wanted_are_refused) {
  write(render_public_key(example));
  EXPECT_EQ(to_string(read_key_pair("key", path()).failure()),
            refusal(" has no secret key; `fxfarm keygen` makes such a file"));
  write("curve\n secret-key = \"short\"\n public-key = \"" + example.public_key + "\"\n");
  EXPECT_EQ(to_string(read_key_pair("key", path()).failure()),
            refusal(" has no pair of keys; `fxfarm keygen` makes such a file"));
  write(std::string(64 * 1024 + 1, '#'));
  EXPECT_EQ(to_string(read_key_pair("key", path()).failure()), refusal(" has more than 65536 bytes"));
}

TEST_F(key_files, may_stand_where_public_keys_do) {
  write(render_public_key(example), 0644);
  const auto got = read_public_keys("key", {std::string(40, '0'), path()});
  ASSERT_TRUE(got) << to_string(got.failure());
  EXPECT_EQ(*got, (std::vector<std::string>{std::string(40, '0'), example.public_key}));
  write("nothing", 0644);
  EXPECT_EQ(to_string(read_public_keys("key", {path()}).failure()),
            refusal(" has no public key; `fxfarm keygen` makes such a file"));
  EXPECT_EQ(to_string(read_public_keys("key", {std::string(39, '0')}).failure()),
            "bad_config: key: " + std::string(39, '0') + " cannot be read: No such file or directory");
}

}  // namespace
}  // namespace fxfarm
