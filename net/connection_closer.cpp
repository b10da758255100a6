#include "net/connection_closer.hpp"

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace fxfarm::net {
namespace {

// 0, or errno.
int put_in_place(int from, int to) {
  while (::dup3(from, to, O_CLOEXEC) < 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

error failed(const std::string& what, int why) {
  return {errc::io, what + ": " + std::strerror(why)};
}

}  // namespace

ino_t inode_of(int descriptor) {
  struct stat found {};
  return ::fstat(descriptor, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

connection_closer::connection_closer(int idle) : idle_(idle), spare_(::fcntl(idle, F_DUPFD_CLOEXEC, 0)) {
  if (!spare_) throw std::system_error(errno, std::generic_category(), "a spare descriptor");
}

// The owner may close the descriptor meanwhile, and another file get it. So what it stands for is held by a second one,
// and compared, before it is shut down.
result<void> connection_closer::hang_up(int descriptor, ino_t inode) const {
  if (inode == 0) return {};
  if (const int why = put_in_place(descriptor, spare_.get()); why != 0) {
    if (inode_of(descriptor) != inode) return {};  // it has gone by itself
    return failed("to hold it", why);
  }
  int why = 0;
  if (inode_of(spare_.get()) == inode && ::shutdown(spare_.get(), SHUT_RDWR) != 0 && errno != ENOTCONN) why = errno;
  if (why != 0) return failed("to shut it down", why);
  // Until then the connection is held open here, too.
  if (why = put_in_place(idle_, spare_.get()); why != 0) return failed("to let go of it", why);
  return {};
}

}  // namespace fxfarm::net
