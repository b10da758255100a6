#include "runtime/secret_file.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm {
namespace {

class secret_file_test : public testing::Test {
protected:
  secret_file_test() {
    std::string made = (std::filesystem::temp_directory_path() / "fxfarm-secret-XXXXXX").string();
    directory_ = ::mkdtemp(made.data());
  }
  ~secret_file_test() override { std::filesystem::remove_all(directory_); }

  std::string path() const { return (directory_ / "token").string(); }
  std::string read(const std::string& content, ::mode_t mode = 0600) {
    std::ofstream(path(), std::ios::binary) << content;
    ::chmod(path().c_str(), mode);
    const auto got = read_secret({"admin_token_file", path(), 8, 20, printable, true});
    return got ? *got : to_string(got.failure());
  }
  bool printable = false;
  std::string refusal(const std::string& why) const { return "bad_config: admin_token_file: " + path() + why; }

private:
  std::filesystem::path directory_;
};

TEST_F(secret_file_test, is_the_only_line_with_or_without_its_end) {
  for (const char* content : {"long enough", "long enough\n", "long enough\r\n"})
    EXPECT_EQ(read(content), "long enough");
  EXPECT_EQ(read(std::string(20, 'x') + "\r\n"), std::string(20, 'x'));
}

TEST_F(secret_file_test, belongs_to_its_owner_alone) {
  for (const ::mode_t mode : {0640, 0604, 0620, 0644}) {
    EXPECT_EQ(read("long enough", mode), refusal(" is open to other users; run: chmod 600 " + path()));
  }
  EXPECT_EQ(read("long enough", 0400), "long enough");
}

TEST_F(secret_file_test, may_be_roots_and_readable_for_a_group_of_this_process) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  read("long enough");
  std::filesystem::permissions(std::filesystem::path(path()).parent_path(), std::filesystem::perms(0755));
  const auto read_by_another = [this](::mode_t mode, ::uid_t owner) {
    constexpr ::uid_t somebody = 10001;
    EXPECT_EQ(::chown(path().c_str(), owner, somebody), 0);
    ::chmod(path().c_str(), mode);
    EXPECT_EQ(::setegid(somebody), 0);
    EXPECT_EQ(::seteuid(somebody), 0);
    const auto got = read_secret({"admin_token_file", path(), 8, 20, printable, true});
    EXPECT_EQ(::seteuid(0), 0);
    EXPECT_EQ(::setegid(0), 0);
    return got ? *got : to_string(got.failure());
  };
  EXPECT_EQ(read_by_another(0440, 0), "long enough");
  EXPECT_EQ(read_by_another(0444, 0), refusal(" belongs to another user"));
  EXPECT_EQ(read_by_another(0460, 0), refusal(" belongs to another user"));
  EXPECT_EQ(read_by_another(0440, 10002), refusal(" belongs to another user"));
}

TEST_F(secret_file_test, is_neither_empty_nor_short_nor_more_than_a_line) {
  EXPECT_EQ(read(""), refusal(" is empty"));
  EXPECT_EQ(read("\n"), refusal(" is empty"));
  EXPECT_EQ(read("short"), refusal(" is too short: want at least 8 bytes"));
  EXPECT_EQ(read(std::string(21, 'x')), refusal(" has more than one line of at most 20 bytes"));
  EXPECT_EQ(read("long enough\nmore"), refusal(" has more than one line of at most 20 bytes"));
}

TEST_F(secret_file_test, has_nothing_that_a_header_does_not_carry_where_it_has_to_be_printable) {
  for (const char* content :
       {"long enough", "longenough ", "longenough\t", " longenough", "longen\xc3\xb6ugh", "longenough\x7f"}) {
    EXPECT_EQ(read(content), content);
    printable = true;
    EXPECT_EQ(read(content), refusal(" has blanks or what is not ASCII: want letters, digits and signs"));
    printable = false;
  }
  printable = true;
  EXPECT_EQ(read("long-enough+/=~!\n"), "long-enough+/=~!");
}

TEST_F(secret_file_test, a_text_is_read_whole_up_to_its_bound_and_takes_no_more_room_than_it_wants) {
  constexpr std::size_t bytes_max = 32u << 20;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{4095}, std::size_t{4096},
                                  std::size_t{4097}, std::size_t{100'000}, bytes_max}) {
    const std::string content(bytes, 'x');
    read(content);
    const auto text = read_secret_text({.option = "keys", .path = path(), .bytes_max = bytes_max});
    ASSERT_TRUE(text) << bytes;
    EXPECT_TRUE(*text == content) << bytes;
    EXPECT_LE(text->capacity(), 4 * bytes + 8192) << bytes;
  }
  read(std::string(bytes_max + 1, 'x'));
  const auto refused = read_secret_text({.option = "keys", .path = path(), .bytes_max = bytes_max});
  ASSERT_FALSE(refused);
  EXPECT_EQ(to_string(refused.failure()), "bad_config: keys: " + path() + " has more than 33554432 bytes");
}

TEST_F(secret_file_test, says_that_it_is_not_there) {
  const auto got = read_secret({"admin_token_file", path(), 8, 20, printable, true});
  ASSERT_FALSE(got);
  EXPECT_EQ(to_string(got.failure()), refusal(" cannot be read: No such file or directory"));
}

}  // namespace
}  // namespace fxfarm
