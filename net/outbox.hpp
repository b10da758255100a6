#pragma once
// Commands of any thread to the one thread that owns a set of sockets.

#include "runtime/limits.hpp"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

namespace fxfarm::net {

template <class Command>
class outbox {
public:
  explicit outbox(std::size_t commands_max = limits::outbox_commands_max)
      : commands_max_(commands_max), fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~outbox() {
    if (fd_ >= 0) ::close(fd_);
  }
  outbox(const outbox&) = delete;
  outbox& operator=(const outbox&) = delete;

  // Readable when there may be commands; negative when the system gave none.
  int fd() const { return fd_; }

  // A command that must get through; there are few of them.
  void push(Command command) {
    put([&] { commands_.push_back(std::move(command)); });
  }

  // A message for the peer that this member names. When the box is full it is dropped, and the peer is told of as
  // overrun: it must not wait for what it will not get.
  void push_message(Command command, std::string Command::*peer) {
    put([&] {
      if (commands_.size() < commands_max_) {
        commands_.push_back(std::move(command));
      } else {
        overrun_.insert(std::move(command.*peer));
      }
    });
  }

  // Until as many `let_go` have followed, nothing wakes the socket thread.
  void hold() {
    std::lock_guard lock(mutex_);
    ++held_;
  }
  void let_go() {
    bool due = false;
    {
      std::lock_guard lock(mutex_);
      due = --held_ == 0 && std::exchange(wake_due_, false);
    }
    if (due) wake();
  }

  // For the socket thread. The wake is taken back before the commands are, so that none can be missed.
  void take(std::vector<Command>& out, std::set<std::string>& overrun) {
    out.clear();
    overrun.clear();
    std::uint64_t wakes = 0;
    [[maybe_unused]] const auto got = ::read(fd_, &wakes, sizeof wakes);
    std::lock_guard lock(mutex_);
    commands_.swap(out);
    overrun_.swap(overrun);
    wake_due_ = false;
  }

private:
  // Wakes the socket thread only when the box was empty: until it looks, one wake is enough.
  template <class Add>
  void put(Add add) {
    bool first = false;
    {
      std::lock_guard lock(mutex_);
      first = commands_.empty();
      add();
      if (first && held_ > 0) {
        wake_due_ = true;
        return;
      }
    }
    if (first) wake();
  }

  void wake() {
    // Can only fail when the counter is full, and then the thread is awake already.
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
  }

  const std::size_t commands_max_;
  int fd_;
  std::mutex mutex_;
  std::vector<Command> commands_;
  std::set<std::string> overrun_;
  unsigned held_ = 0;
  bool wake_due_ = false;  // there are commands that nobody was woken for
};

}  // namespace fxfarm::net
