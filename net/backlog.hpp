#pragma once
// How much of what has come from a socket nobody has looked at yet. While it is more than its bound, the socket is not
// read: whoever sends faster than actors look at it fills his own buffers, not ours. Private to net/.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <sys/eventfd.h>
#include <unistd.h>

namespace fxfarm::net {

class backlog {
public:
  explicit backlog(std::size_t bytes_max) : state_(std::make_shared<state>(bytes_max)) {}

  // These bytes count until the token is gone, on whatever thread and however long after this object.
  std::shared_ptr<const void> hold(std::size_t bytes) {
    state_->held += bytes;
    return {nullptr, [s = state_, bytes](const void*) { s->let_go(bytes); }};
  }

  std::size_t held() const { return state_->held; }
  // For the thread that reads: whether it is to wait until fd() is readable. `more` is what is held elsewhere.
  bool is_full(std::size_t more = 0) {
    if (state_->held + more < state_->bytes_max) return false;
    // What is let go meanwhile wakes it; what was before is seen by the second look.
    state_->awaited = true;
    return state_->held + more >= state_->bytes_max;
  }
  // Negative when the system gave none.
  int fd() const { return state_->fd; }
  void take_wake() {
    std::uint64_t wakes = 0;
    [[maybe_unused]] const auto got = ::read(state_->fd, &wakes, sizeof wakes);
  }

private:
  struct state {
    explicit state(std::size_t most) : bytes_max(most), fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
    ~state() {
      if (fd >= 0) ::close(fd);
    }
    state(const state&) = delete;
    state& operator=(const state&) = delete;

    void let_go(std::size_t bytes) {
      held -= bytes;
      if (held >= bytes_max || !awaited.exchange(false)) return;
      const std::uint64_t one = 1;
      [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);
    }

    const std::size_t bytes_max;
    const int fd;
    std::atomic<std::size_t> held{0};
    std::atomic<bool> awaited{false};
  };
  std::shared_ptr<state> state_;
};

}  // namespace fxfarm::net
