#include "cli/signals.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace fxfarm::cli {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

result<std::unique_ptr<stop_order>> stop_order::take_over() {
  auto set = stop_signals();
  if (int failure = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); failure != 0) {
    return {errc::io, std::string("signal mask: ") + std::strerror(failure)};
  }
  int signals = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  int requests = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (signals < 0 || requests < 0) {
    error why{errc::io, std::string("signalfd or eventfd: ") + std::strerror(errno)};
    if (signals >= 0) ::close(signals);
    if (requests >= 0) ::close(requests);
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    return why;
  }
  return std::unique_ptr<stop_order>(new stop_order(signals, requests));
}

stop_order::~stop_order() {
  ::close(signals_);
  ::close(requests_);
  auto set = stop_signals();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

std::string stop_order::wait() {
  while (true) {
    {
      std::lock_guard guard(mutex_);
      if (!reason_.empty()) return reason_;
    }
    std::array<pollfd, 2> watched{pollfd{signals_, POLLIN, 0}, pollfd{requests_, POLLIN, 0}};
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) {
      return std::string("poll: ") + std::strerror(errno);
    }
    signalfd_siginfo came{};
    if (::read(signals_, &came, sizeof came) == static_cast<ssize_t>(sizeof came)) {
      request(came.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
    }
  }
}

void stop_order::request(std::string reason) {
  {
    std::lock_guard guard(mutex_);
    if (reason_.empty()) reason_ = std::move(reason);
  }
  // Fails only when the counter is full, and then the waiter is awake anyway.
  ::eventfd_write(requests_, 1);
}

}  // namespace fxfarm::cli
