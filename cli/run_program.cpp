#include "cli/run_program.hpp"

#include "runtime/file_handle.hpp"
#include "runtime/limits.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fxfarm::cli {
namespace {

using clock = std::chrono::steady_clock;

struct piped {
  file_handle read;
  file_handle write;
};

result<piped> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {errc::io, std::string("pipe: ") + std::strerror(errno)};
  return piped{file_handle(ends[0]), file_handle(ends[1])};
}

// Takes what is there; false at the end.
bool take(int fd, std::string& into) {
  std::array<char, 4096> piece{};
  const auto n = ::read(fd, piece.data(), piece.size());
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  const auto room = limits::report_bytes_max - std::min(into.size(), limits::report_bytes_max);
  into.append(piece.data(), std::min(static_cast<std::size_t>(n), room));
  return n > 0;
}

// Both until their ends; false when time is up.
bool take_all(int out, int err, std::string& said, std::string& complained, clock::time_point until) {
  std::array<pollfd, 2> watched{pollfd{out, POLLIN, 0}, pollfd{err, POLLIN, 0}};
  std::array<std::string*, 2> into{&said, &complained};
  while (watched[0].fd >= 0 || watched[1].fd >= 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
    if (left <= 0) return false;
    if (::poll(watched.data(), watched.size(), static_cast<int>(left)) < 0 && errno != EINTR) return false;
    for (std::size_t i = 0; i < watched.size(); ++i) {
      if (watched[i].revents != 0 && !take(watched[i].fd, *into[i])) watched[i].fd = -1;
      watched[i].revents = 0;
    }
  }
  return true;
}

std::string last_line(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  const auto begin = text.rfind('\n');
  return begin == std::string::npos ? text : text.substr(begin + 1);
}

result<pid_t> start(const std::vector<std::string>& argv, int out, int err) {
  std::vector<char*> words;
  words.reserve(argv.size() + 1);
  for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  pid_t pid = -1;
  const int why = ::posix_spawnp(&pid, words[0], &actions, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (why == ENOENT) return {errc::not_found, "there is no program " + argv[0]};
  if (why != 0) return {errc::io, argv[0] + ": " + std::strerror(why)};
  return pid;
}

}  // namespace

result<std::string> run_program(const std::vector<std::string>& argv, std::chrono::milliseconds within) {
  const auto until = clock::now() + within;
  auto out = make_pipe();
  if (!out) return out.failure();
  auto err = make_pipe();
  if (!err) return err.failure();
  auto pid = start(argv, out->write.get(), err->write.get());
  if (!pid) return pid.failure();
  out->write = {};
  err->write = {};
  std::string said, complained;
  const bool ended = take_all(out->read.get(), err->read.get(), said, complained, until);
  if (!ended) ::kill(*pid, SIGKILL);
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) return {errc::timeout, argv[0] + " did not end in time"};
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return said;
  return {errc::io, argv[0] + ": " + (complained.empty() ? std::string("it failed") : last_line(complained))};
}

}  // namespace fxfarm::cli
