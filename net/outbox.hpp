#pragma once
// Commands of any thread to the one thread that owns a set of sockets.

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

namespace fxfarm::net {

template <class Command>
class outbox {
public:
  outbox() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~outbox() {
    if (fd_ >= 0) ::close(fd_);
  }
  outbox(const outbox&) = delete;
  outbox& operator=(const outbox&) = delete;

  // Readable when there may be commands; negative when the system gave none.
  int fd() const { return fd_; }

  // Wakes the socket thread only when the box was empty: until it looks, one wake is enough.
  void push(Command command) {
    bool first = false;
    {
      std::lock_guard lock(mutex_);
      first = commands_.empty();
      commands_.push_back(std::move(command));
    }
    if (!first) return;
    // Can only fail when the counter is full, and then the thread is awake already.
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
  }

  // For the socket thread. The wake is taken back before the commands are, so that none can be missed.
  void take(std::vector<Command>& out) {
    out.clear();
    std::uint64_t wakes = 0;
    [[maybe_unused]] const auto got = ::read(fd_, &wakes, sizeof wakes);
    std::lock_guard lock(mutex_);
    commands_.swap(out);
  }

private:
  int fd_;
  std::mutex mutex_;
  std::vector<Command> commands_;
};

}  // namespace fxfarm::net
