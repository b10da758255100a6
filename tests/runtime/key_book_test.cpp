#include "runtime/key_book.hpp"

#include "runtime/limits.hpp"
#include "scratch_directory.hpp"

#include <chrono>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace fxfarm {
namespace {

using namespace std::chrono_literals;

const std::string alice(40, 'a');
const std::string bob(40, 'b');
const std::string carol(40, 'c');

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
  // Over what is there, as careless writers do it; it was written when the book's clock showed `now`.
  void overwrite(const std::string& text) const {
    std::ofstream(path(), std::ios::binary | std::ios::trunc) << text;
    std::filesystem::last_write_time(path(), std::chrono::file_clock::from_sys(now));
  }
  scratch_directory directory;
  key_book::file_time now = std::chrono::system_clock::now();
};

TEST_F(key_book_test, has_other_keys_when_the_file_has) {
  write("client a " + alice + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  const auto first = book->keys();
  EXPECT_TRUE(first->knows(alice));
  EXPECT_FALSE(*book->refresh(now));
  EXPECT_EQ(book->keys(), first);
  write("client a " + bob + "\n");
  EXPECT_TRUE(*book->refresh(now));
  EXPECT_TRUE(book->keys()->knows(bob));
  EXPECT_FALSE(book->keys()->knows(alice));
  EXPECT_TRUE(first->knows(alice)) << "whoever holds it may go on reading it";
}

TEST_F(key_book_test, that_was_written_anew_with_the_same_content_has_not_changed) {
  write("client a " + alice + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  write("client a " + alice + "\n");
  EXPECT_FALSE(*book->refresh(now));
}

TEST_F(key_book_test, keeps_its_keys_when_the_file_is_bad_and_says_so_once) {
  write("client a " + alice + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  write("client a " + bob + "\nclient b\n");
  const auto got = book->refresh(now);
  ASSERT_FALSE(got);
  EXPECT_EQ(to_string(got.failure()),
            refusal(": line 2: \"\" is no public key, want 40 characters as `fxfarm keygen` prints them"));
  EXPECT_TRUE(book->keys()->knows(alice));
  EXPECT_FALSE(book->keys()->knows(bob));
  EXPECT_FALSE(*book->refresh(now));
  write("client b " + bob + "\n");
  EXPECT_TRUE(*book->refresh(now));
}

TEST_F(key_book_test, keeps_its_keys_while_the_file_is_away) {
  write("client a " + alice + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  std::filesystem::remove(path());
  EXPECT_EQ(to_string(book->refresh(now).failure()), refusal(" cannot be read: No such file or directory"));
  EXPECT_TRUE(book->refresh(now));
  EXPECT_TRUE(book->keys()->knows(alice));
  write("client b " + bob + "\n");
  EXPECT_TRUE(*book->refresh(now));
}

TEST_F(key_book_test, waits_until_nobody_writes_to_the_file) {
  write("client a " + alice + "\nclient a " + bob + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  now += 1h;
  overwrite("");
  EXPECT_FALSE(*book->refresh(now)) << "it is not looked into yet";
  now += limits::authorized_keys_quiet / 2;
  overwrite("client a " + alice + "\n");
  now += limits::authorized_keys_quiet / 2;
  EXPECT_FALSE(*book->refresh(now));
  EXPECT_TRUE(book->keys()->knows(bob)) << "though the file has not got that far";
  overwrite("client a " + alice + "\nclient a " + bob + "\nclient b " + carol + "\n");
  EXPECT_FALSE(*book->refresh(now));
  now += limits::authorized_keys_quiet;
  EXPECT_TRUE(*book->refresh(now));
  EXPECT_TRUE(book->keys()->knows(bob));
  EXPECT_TRUE(book->keys()->knows(carol));
}

TEST_F(key_book_test, takes_a_file_that_takes_the_place_of_another_at_once) {
  write("client a " + alice + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  now += 1h;
  write("client a " + bob + "\n");
  EXPECT_TRUE(*book->refresh(now));
}

TEST_F(key_book_test, goes_by_what_it_has_seen_where_the_files_times_are_of_another_clock) {
  write("client a " + alice + "\n");
  const auto book = *key_book::open("authorized_keys", path());
  now += 24h;
  overwrite("client a " + bob + "\n");
  now -= 12h;  // so that it was written half a day from now
  EXPECT_FALSE(*book->refresh(now));
  EXPECT_FALSE(*book->refresh(now));
  now += limits::authorized_keys_quiet;
  EXPECT_TRUE(*book->refresh(now));
}

TEST_F(key_book_test, refuses_what_was_left_half_written) {
  write("client a " + alice + "\nclient a " + bob + " bob of the night shift\n");
  const auto book = *key_book::open("authorized_keys", path());
  const struct {
    std::string text;
    std::string why;
  } cases[] = {
      {"", " is empty; to have no keys in it, leave a comment; it is perhaps half written"},
      {"client a " + alice + "\nclient a " + carol, ": its last line has no end; it is perhaps half written"},
      {"client a " + alice + " alic", ": its last line has no end; it is perhaps half written"},
  };
  for (const auto& c : cases) {
    now += 1h;
    overwrite(c.text);
    now += limits::authorized_keys_quiet;
    const auto got = book->refresh(now);
    ASSERT_FALSE(got) << c.text;
    EXPECT_EQ(to_string(got.failure()), refusal(c.why));
    EXPECT_TRUE(book->keys()->knows(bob));
    EXPECT_FALSE(*book->refresh(now)) << "that is told once";
  }
  write("# nobody\n");
  EXPECT_TRUE(*book->refresh(now));
  EXPECT_EQ(book->keys()->size(), 0u);
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
