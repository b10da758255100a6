#include "net/connection_closer.hpp"

#include <array>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace fxfarm::net {
namespace {

struct closing : ::testing::Test {
  closing() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    own = file_handle(ends[0]);
    other = file_handle(ends[1]);
    inode = inode_of(own.get());
  }
  // Whether nothing more comes from the other side.
  static bool at_its_end(const file_handle& end) {
    char byte = 0;
    return ::recv(end.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }

  file_handle idle{::eventfd(0, EFD_CLOEXEC)}, own, other;
  ino_t inode = 0;
  connection_closer closer{idle.get()};
};

TEST_F(closing, both_sides_see_the_end_and_the_descriptor_stays_its_owners) {
  ASSERT_NE(inode, 0u);
  EXPECT_TRUE(closer.hang_up(own.get(), inode));
  EXPECT_TRUE(at_its_end(own));
  EXPECT_TRUE(at_its_end(other));
  EXPECT_TRUE(closer.hang_up(own.get(), inode)) << "once more changes nothing";
  EXPECT_GE(::fcntl(own.get(), F_GETFD), 0);
}

TEST_F(closing, what_has_the_descriptor_by_now_is_left_alone) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const file_handle next(ends[0]), nexts_other(ends[1]);
  EXPECT_TRUE(closer.hang_up(next.get(), inode));
  EXPECT_TRUE(closer.hang_up(next.get(), 0));
  EXPECT_FALSE(at_its_end(nexts_other));
  const int gone = own.get();
  own.reset();
  EXPECT_TRUE(closer.hang_up(gone, inode)) << "it has gone by itself";
}

TEST_F(closing, that_the_system_does_not_let_it_is_told_and_the_connection_is_there) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto refused = closer.hang_up(own.get(), inode);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(to_string(refused.failure()), "io: to hold it: Bad file descriptor");
  EXPECT_FALSE(at_its_end(other));
  EXPECT_TRUE(closer.hang_up(own.get(), inode));
  EXPECT_TRUE(at_its_end(other));
}

}  // namespace
}  // namespace fxfarm::net
