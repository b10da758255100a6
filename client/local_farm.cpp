#include "client/local_farm.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace fxfarm {
namespace {

class file_actions {
public:
  file_actions() { posix_spawn_file_actions_init(&actions_); }
  ~file_actions() { posix_spawn_file_actions_destroy(&actions_); }
  file_actions(const file_actions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

private:
  posix_spawn_file_actions_t actions_;
};

class spawn_attributes {
public:
  spawn_attributes() { posix_spawnattr_init(&attributes_); }
  ~spawn_attributes() { posix_spawnattr_destroy(&attributes_); }
  spawn_attributes(const spawn_attributes&) = delete;
  posix_spawnattr_t* get() { return &attributes_; }

private:
  posix_spawnattr_t attributes_;
};

// What the program says until it has detached: a file in memory that takes no more than said_bytes_max.
class said {
public:
  static constexpr std::size_t said_bytes_max = 4096;

  said() : file_(::memfd_create("fxfarm-local-farm", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    if (file_ < 0) return;
    if (::ftruncate(file_, said_bytes_max) < 0 || ::fcntl(file_, F_ADD_SEALS, F_SEAL_GROW) < 0) {
      ::close(std::exchange(file_, -1));
    }
  }
  ~said() {
    if (file_ >= 0) ::close(file_);
  }
  said(const said&) = delete;
  said& operator=(const said&) = delete;

  int file() const { return file_; }  // -1: there is none, and nothing is kept

  // Its last line that is not empty, which is where a program says what it ends of.
  std::string last_line() const {
    std::string text(said_bytes_max, '\0');
    const auto n = file_ < 0 ? 0 : ::pread(file_, text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    text.resize(std::min(text.size(), text.find('\0')));
    const auto end = text.find_last_not_of("\r\n ");
    if (end == std::string::npos) return {};
    text.resize(end + 1);
    return text.substr(text.find_last_of('\n') + 1);
  }

private:
  int file_;
};

result<pid_t> spawn(const std::vector<std::string>& command, const said& output) {
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);

  file_actions files;
  posix_spawn_file_actions_addopen(files.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(files.get(), STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  if (output.file() < 0) {
    posix_spawn_file_actions_addopen(files.get(), STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  } else {
    posix_spawn_file_actions_adddup2(files.get(), output.file(), STDERR_FILENO);
  }
  // The farm outlives the model's process and must not keep its files and sockets open.
  posix_spawn_file_actions_addclosefrom_np(files.get(), STDERR_FILENO + 1);

  // The model's process may block or ignore signals that the farm needs.
  spawn_attributes attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(attributes.get(), &none);
  posix_spawnattr_setsigdefault(attributes.get(), &all);
  posix_spawnattr_setflags(attributes.get(), POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);

  pid_t pid = -1;
  if (int failed = posix_spawnp(&pid, argv[0], files.get(), attributes.get(), argv.data(), environ)) {
    return {errc::io, command.front() + ": " + std::strerror(failed)};
  }
  return pid;
}

// Success when the process has ended, whoever reaps it.
result<void> await_end(pid_t pid, std::chrono::milliseconds patience) {
  using clock = std::chrono::steady_clock;
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0 && errno == ESRCH) return {};
  if (pidfd < 0) return {errc::io, std::string("cannot be watched: ") + std::strerror(errno)};
  const auto deadline = clock::now() + patience;
  pollfd ended{pidfd, POLLIN, 0};
  int n = 0;
  do {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now());
    n = ::poll(&ended, 1, static_cast<int>(std::max<std::chrono::milliseconds::rep>(left.count(), 0)));
  } while (n < 0 && errno == EINTR);
  const int why = errno;
  ::close(pidfd);
  if (n < 0) return {errc::io, std::string("cannot be watched: ") + std::strerror(why)};
  if (n == 0) return {errc::timeout, "did not detach in time"};
  return {};
}

}  // namespace

result<void> start_local_farm(const std::vector<std::string>& command, std::chrono::milliseconds patience) {
  if (command.empty()) return {errc::bad_input, "no command for the local farm"};
  const said output;
  auto pid = spawn(command, output);
  if (!pid) return pid.failure();

  if (auto ended = await_end(*pid, patience); !ended) {
    ::kill(*pid, SIGKILL);
    ::waitpid(*pid, nullptr, 0);
    return ended.failure().with_context(command.front());
  }
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0) {
    // The program's own SIGCHLD handling may have reaped it: then how it ended cannot be known.
    if (errno != EINTR) return {};
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  const auto line = output.last_line();
  return {errc::io, command.front() +
                        (WIFEXITED(status) ? " exited with " + std::to_string(WEXITSTATUS(status))
                                           : " was killed by signal " + std::to_string(WTERMSIG(status))) +
                        (line.empty() ? "" : ": " + line)};
}

void start_local_farm_apart(std::vector<std::string> command, std::function<void(result<void>)> done) {
  try {
    std::thread([command = std::move(command), done] { done(start_local_farm(command)); }).detach();
  } catch (const std::system_error& e) {
    done(error{errc::io, std::string("no thread to start the local farm with: ") + e.what()});
  }
}

}  // namespace fxfarm
