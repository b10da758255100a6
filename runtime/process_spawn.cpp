#include "runtime/process_spawn.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fxfarm {
namespace {

constexpr int guard_signal = SIGHUP;  // tells a guard that its engine has ended

struct pipe_ends {
  file_handle read;
  file_handle write;
};

result<pipe_ends> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return {errc::engine_start, std::string("no pipe: ") + std::strerror(errno)};
  return pipe_ends{file_handle(fds[0]), file_handle(fds[1])};
}

result<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* raw_path = std::getenv("PATH");
  std::string_view path = raw_path != nullptr ? raw_path : "/usr/local/bin:/usr/bin:/bin";
  while (true) {
    const auto colon = path.find(':');
    const auto candidate = std::string(path.substr(0, colon)) + "/" + name;
    if (candidate.front() == '/' && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    if (colon == std::string_view::npos) break;
    path.remove_prefix(colon + 1);
  }
  return {errc::engine_start, "cannot start '" + name + "': no such program in PATH"};
}

std::vector<std::string> merged_environment(const engine_options& options) {
  std::vector<std::string> merged;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto name = text.substr(0, text.find('='));
    if (options.environment.contains(std::string(name))) continue;
    if (!options.confinement || is_inherited(*options.confinement, name)) merged.emplace_back(text);
  }
  for (const auto& [name, value] : options.environment) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// What the child could not do; small enough to go through a pipe in one piece.
struct child_failure {
  int why = 0;
  enum step_name : int { limits, directory, guard, program } step = program;
};

// All that the child needs, made before the fork: after it, only async-signal-safe calls are allowed, since another
// thread may have held any lock.
struct child_plan {
  const engine_options* options;
  const char* program;
  char** argv;
  char** guard_argv;  // its first is null without a guard
  char** envp;
  cpu_set_t cpus;
  pid_t parent;
  int input;
  int output;
  int log;
  int failure;
};

[[noreturn]] void give_up(const child_plan& plan, child_failure::step_name step) {
  const child_failure failure{errno, step};
  // When even this cannot be written, the parent sees the end of the pipe and then the exit code.
  (void)!::write(plan.failure, &failure, sizeof(failure));
  ::_exit(127);
}

void set_limit(const child_plan& plan, decltype(RLIMIT_AS) which, std::uint64_t value) {
  if (value == 0) return;
  rlimit ours{};
  if (::getrlimit(which, &ours) != 0) give_up(plan, child_failure::limits);
  // Never above what we have: that takes a right that a worker may lack.
  const auto most = std::min<rlim_t>(value, ours.rlim_max);
  const rlimit limit{most, most};
  if (::setrlimit(which, &limit) != 0) give_up(plan, child_failure::limits);
}

// Where the kernel groups processes by session for scheduling (sched(7), autogroups), a process's own nice value counts
// within its session only: the session needs one, too. Other kernels have no such file.
void set_session_nice(int nice) {
  const int fd = ::open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  char text[3];
  std::size_t length = 0;
  if (nice >= 10) text[length++] = static_cast<char>('0' + nice / 10);
  text[length++] = static_cast<char>('0' + nice % 10);
  // Refused when it was changed a moment ago; then the process's own value has to do.
  (void)!::write(fd, text, length);
  ::close(fd);
}

// Dies as the one that forked it did, however early that was.
void follow(pid_t parent, int signal) {
  ::prctl(PR_SET_PDEATHSIG, signal);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
}

// A child of the engine to be, and of its group: the kernel tells it of the engine's end. Executed, since a mere fork
// would keep the memory that we had.
void start_guard(const child_plan& plan) {
  if (plan.guard_argv[0] == nullptr) return;
  const pid_t engine = ::getpid();
  const pid_t guard = ::fork();
  if (guard < 0) give_up(plan, child_failure::guard);
  if (guard > 0) return;
  sigset_t told;
  ::sigemptyset(&told);
  ::sigaddset(&told, guard_signal);
  ::sigprocmask(SIG_BLOCK, &told, nullptr);  // until the guard waits for it
  follow(engine, guard_signal);
  // It must not keep the engine's pipes open.
  ::syscall(SYS_close_range, 0U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
  ::execve(plan.guard_argv[0], plan.guard_argv + 1, plan.envp);
  give_up(plan, child_failure::guard);
}

[[noreturn]] void run_child(const child_plan& plan) {
  ::setsid();
  follow(plan.parent, SIGKILL);

  // Ours are not the program's; ignored signals would stay so across exec.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);

  const auto& options = *plan.options;
  if (options.nice != 0) {
    errno = 0;
    const int now = ::nice(options.nice);
    if (now == -1 && errno != 0) give_up(plan, child_failure::limits);
    if (now > 0) set_session_nice(now);
  }
  if (!options.cpus.empty() && ::sched_setaffinity(0, sizeof(plan.cpus), &plan.cpus) != 0) {
    give_up(plan, child_failure::limits);
  }
  set_limit(plan, RLIMIT_AS, options.address_space_bytes);
  set_limit(plan, RLIMIT_NOFILE, options.open_files);
  set_limit(plan, RLIMIT_FSIZE, options.file_bytes);
  const rlimit none_at_all{0, 0};
  if (options.confinement && ::setrlimit(RLIMIT_CORE, &none_at_all) != 0) give_up(plan, child_failure::limits);
  start_guard(plan);
  if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) give_up(plan, child_failure::directory);

  ::dup2(plan.input, STDIN_FILENO);
  ::dup2(plan.output, STDOUT_FILENO);
  ::dup2(plan.log, STDERR_FILENO);
  // Libraries in this process may have opened files without O_CLOEXEC.
  ::syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
  ::execve(plan.program, plan.argv, plan.envp);
  give_up(plan, child_failure::program);
}

// An end of a pipe above the standard descriptors: the child's dup2 must not overwrite one that it still needs.
result<void> lift_above_standard(file_handle& file) {
  if (file.get() > STDERR_FILENO) return {};
  file_handle lifted(::fcntl(file.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!lifted) return {errc::engine_start, std::string("no descriptor: ") + std::strerror(errno)};
  file = std::move(lifted);
  return {};
}

result<void> await_exec(int failure_pipe, const engine_options& options) {
  child_failure failure;
  ssize_t n;
  do {
    n = ::read(failure_pipe, &failure, sizeof(failure));
  } while (n < 0 && errno == EINTR);
  if (n == 0) return {};  // closed by exec
  std::string what = "cannot start '" + options.argv.front() + "': ";
  if (n != sizeof(failure)) return {errc::engine_start, what + "it ended before it was executed"};
  if (failure.step == child_failure::directory) what += "its directory " + options.directory + ": ";
  if (failure.step == child_failure::limits) what += "its priority, CPUs or limits: ";
  if (failure.step == child_failure::guard) what += "its guard " + options.guard.front() + ": ";
  return {errc::engine_start, what + std::strerror(failure.why)};
}

result<void> check(const engine_options& options) {
  if (options.argv.empty() || options.argv.front().empty()) {
    return {errc::bad_input, "an engine needs the name of a program"};
  }
  for (const auto& [name, value] : options.environment) {
    if (name.empty() || name.find('=') != std::string::npos) {
      return {errc::bad_input, "'" + name + "' is no name of an environment variable"};
    }
  }
  for (auto cpu : options.cpus) {
    if (cpu >= CPU_SETSIZE) return {errc::bad_input, "there is no CPU " + std::to_string(cpu)};
  }
  return {};
}

pid_t fork_with_signals_blocked(const child_plan& plan) {
  // No handler of ours may run in the child.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0) run_child(plan);
  const int why = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = why;
  return pid;
}

void kill_and_reap(pid_t pid) {
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

result<spawned_process> spawn(const engine_options& options) {
  if (auto good = check(options); !good) return good.failure();
  auto program = find_program(options.argv.front());
  if (!program) return program.failure();
  auto argv_texts = options.argv;
  auto environment_texts = merged_environment(options);
  auto guard_texts = options.guard;
  auto argv = pointers(argv_texts);
  auto guard_argv = pointers(guard_texts);
  auto envp = pointers(environment_texts);

  std::array<pipe_ends, 4> pipes;  // input, output, log, failure
  for (auto& ends : pipes) {
    auto made = make_pipe();
    if (!made) return made.failure();
    ends = std::move(*made);
    for (auto* end : {&ends.read, &ends.write}) {
      if (auto lifted = lift_above_standard(*end); !lifted) return lifted.failure();
    }
  }
  auto& [input, output, log, failure] = pipes;

  child_plan plan{&options,   program->c_str(), argv.data(),        guard_argv.data(), envp.data(),        {},
                  ::getpid(), input.read.get(), output.write.get(), log.write.get(),   failure.write.get()};
  CPU_ZERO(&plan.cpus);
  for (auto cpu : options.cpus) CPU_SET(cpu, &plan.cpus);

  spawned_process child;
  child.pid = fork_with_signals_blocked(plan);
  if (child.pid < 0) return {errc::engine_start, std::string("cannot fork: ") + std::strerror(errno)};
  failure.write.reset();
  if (auto started = await_exec(failure.read.get(), options); !started) {
    kill_and_reap(child.pid);
    return started.failure();
  }
  child.pidfd = file_handle(static_cast<int>(::syscall(SYS_pidfd_open, child.pid, 0U)));
  if (!child.pidfd) {
    const int why = errno;
    kill_and_reap(child.pid);
    return {errc::engine_start, std::string("cannot watch the engine: ") + std::strerror(why)};
  }
  child.input = std::move(input.write);
  child.output = std::move(output.read);
  child.log = std::move(log.read);
  for (auto* end : {&child.input, &child.output, &child.log}) ::fcntl(end->get(), F_SETFL, O_NONBLOCK);
  return child;
}

std::vector<unsigned> last_cpus(unsigned count) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::vector<unsigned> usable;
  if (count == 0 || ::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return usable;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) usable.push_back(cpu);
  }
  if (usable.size() > count) usable.erase(usable.begin(), usable.end() - count);
  return usable;
}

void guard_group() {
  sigset_t told;
  ::sigemptyset(&told);
  ::sigaddset(&told, guard_signal);
  ::sigprocmask(SIG_BLOCK, &told, nullptr);
  siginfo_t info;
  while (::sigwaitinfo(&told, &info) < 0) {
  }
  ::kill(0, SIGKILL);
  ::_exit(0);  // not reached: it is of the group
}

std::string to_string(const exit_report& report) {
  std::string text = "exited with " + std::to_string(report.code);
  if (report.how == exit_report::ending::signalled) {
    const char* name = ::sigdescr_np(report.signal);
    text = "killed by signal " + std::to_string(report.signal) + " (" + (name != nullptr ? name : "unknown") + ")";
  }
  if (report.cause.code != errc::none) text += ", because " + to_string(report.cause);
  return text;
}

}  // namespace fxfarm
