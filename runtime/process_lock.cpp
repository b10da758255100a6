#include "runtime/process_lock.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm {
namespace {

bool is_open_as(int fd, const std::string& file) {
  struct stat ours {};
  struct stat there {};
  return ::fstat(fd, &ours) == 0 && ::stat(file.c_str(), &there) == 0 && ours.st_ino == there.st_ino &&
         ours.st_dev == there.st_dev;
}

}  // namespace

result<std::unique_ptr<process_lock>> process_lock::try_take(const std::string& file) {
  auto failure = [&](const char* what) {
    return error{errc::io, "lock " + file + ": " + what + ": " + std::strerror(errno)};
  };
  for (;;) {
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return failure("cannot be opened");
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const bool held = errno == EWOULDBLOCK;
      auto why = failure("cannot be locked");
      ::close(fd);
      if (held) return std::unique_ptr<process_lock>();
      return why;
    }
    // The holder before us may have removed the file between our open and our lock: then we hold nothing that others
    // see.
    if (is_open_as(fd, file)) return std::unique_ptr<process_lock>(new process_lock(file, fd));
    ::close(fd);
  }
}

bool process_lock::holds() const {
  return is_open_as(fd_, file_);
}

process_lock::~process_lock() {
  if (holds()) ::unlink(file_.c_str());
  ::close(fd_);
}

}  // namespace fxfarm
