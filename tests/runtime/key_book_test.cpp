#include "runtime/key_book.hpp"

#include "scratch_directory.hpp"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace fxfarm {
namespace {

const std::string alice(40, 'a');
const std::string bob(40, 'b');

struct key_book_test : testing::Test {
  void write(const std::string& text, ::mode_t mode = 0644) const {
    // Replaced, as careful writers do it: also when the clock has not moved on, it is another file.
    const auto next = path() + ".new";
    std::ofstream(next, std::ios::binary) << text;
    ::chmod(next.c_str(), mode);
    std::filesystem::rename(next, path());
  }
  std::string path() const { return (directory.path() / "keys").string(); }
  std::string refusal(const std::string& why) const { return "bad_config: authorized_keys: " + path() + why; }
  scratch_directory directory;
};

TEST_F(key_book_test, has_other_keys_when_the_file_has) {
  write("client a " + alice + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  const auto first = book->keys();
  EXPECT_TRUE(first->knows(alice));
  EXPECT_FALSE(*book->refresh());
  EXPECT_EQ(book->keys(), first);
  write("client a " + bob + "\n");
  EXPECT_TRUE(*book->refresh());
  EXPECT_TRUE(book->keys()->knows(bob));
  EXPECT_FALSE(book->keys()->knows(alice));
  EXPECT_TRUE(first->knows(alice)) << "whoever holds it may go on reading it";
}

TEST_F(key_book_test, that_was_written_anew_with_the_same_content_has_not_changed) {
  write("client a " + alice + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  write("client a " + alice + "\n");
  EXPECT_FALSE(*book->refresh());
}

TEST_F(key_book_test, keeps_its_keys_when_the_file_is_bad_and_says_so_once) {
  write("client a " + alice + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  write("client a " + bob + "\nclient b\n");
  const auto got = book->refresh();
  ASSERT_FALSE(got);
  EXPECT_EQ(to_string(got.failure()),
            refusal(": line 2: \"\" is no public key, want 40 characters as `fxfarm keygen` prints them"));
  EXPECT_TRUE(book->keys()->knows(alice));
  EXPECT_FALSE(book->keys()->knows(bob));
  EXPECT_FALSE(*book->refresh());
  write("client b " + bob + "\n");
  EXPECT_TRUE(*book->refresh());
}

TEST_F(key_book_test, keeps_its_keys_while_the_file_is_away) {
  write("client a " + alice + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  std::filesystem::remove(path());
  EXPECT_EQ(to_string(book->refresh().failure()), refusal(" cannot be read: No such file or directory"));
  EXPECT_TRUE(book->refresh());
  EXPECT_TRUE(book->keys()->knows(alice));
  write("client b " + bob + "\n");
  EXPECT_TRUE(*book->refresh());
}

TEST_F(key_book_test, is_for_its_owner_to_write) {
  for (const ::mode_t mode : {0664, 0646}) {
    write("client a " + alice + "\n", mode);
    const auto got = key_book::open("authorized_keys", path());
    ASSERT_FALSE(got);
    EXPECT_EQ(to_string(got.failure()),
              refusal(" may be written by other users; run: chmod go-w " + path() + ", and own it"));
  }
}

}  // namespace
}  // namespace fxfarm
