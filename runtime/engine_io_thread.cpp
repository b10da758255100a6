#include "runtime/engine_io_thread.hpp"

#include "runtime/process_usage.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

namespace fxfarm {
namespace {

using steady = std::chrono::steady_clock;

constexpr std::size_t read_bytes_max = 64 * limits::KiB;  // taken from a pipe at once

}  // namespace

result<void> engine_io_thread::start() {
  wake_ = file_handle(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return {errc::engine_start, std::string("no eventfd: ") + std::strerror(errno)};
  std::promise<result<void>> started;
  auto outcome = started.get_future();
  try {
    thread_ = std::thread(
        [self = shared_from_this(), started = std::move(started)]() mutable { self->run(std::move(started)); });
  } catch (const std::system_error& e) {
    return {errc::engine_start, std::string("no thread: ") + e.what()};
  }
  auto result = outcome.get();  // spawn is bounded: it waits for the exec only
  if (!result) thread_.join();
  return result;
}

void engine_io_thread::wake() const {
  // Fails only when the counter is full, and then the thread will wake anyway.
  (void)::eventfd_write(wake_.get(), 1);
}

result<void> engine_io_thread::send(bytes frame) {
  if (frame.empty()) return {errc::bad_input, "an empty frame cannot be sent to an engine"};
  if (frame.size() > options_.frame_bytes_max) {
    return {errc::too_large, "a frame of " + std::to_string(frame.size()) + " bytes, engines take " +
                                 std::to_string(options_.frame_bytes_max)};
  }
  {
    std::lock_guard lock(mutex_);
    if (ended_ || cause_ || stop_wanted_ || kill_at_once_) return {errc::shutdown, "the engine has ended"};
    if (queue_.size() >= limits::engine_frames_queued_max ||
        queue_bytes_ + frame.size() > limits::engine_queue_bytes_max) {
      return {errc::busy, "the engine does not read: " + std::to_string(queue_.size()) + " frames wait for it"};
    }
    queue_bytes_ += frame.size();
    allowance_.renew();
    const auto prefix = frame_prefix(frame.size());
    queue_.push_back({prefix, std::move(frame)});
  }
  wake();
  return {};
}

void engine_io_thread::request_kill(error cause) {
  {
    std::lock_guard lock(mutex_);
    if (!cause_) cause_ = std::move(cause);
  }
  wake();
}

void engine_io_thread::request_kill_at_once() {
  {
    std::lock_guard lock(mutex_);
    kill_at_once_ = true;
  }
  wake();
}

void engine_io_thread::request_stop() {
  {
    std::lock_guard lock(mutex_);
    stop_wanted_ = true;
  }
  wake();
}

void engine_io_thread::watch(const engine_bounds& bounds) {
  {
    std::lock_guard lock(mutex_);
    memory_peak_ = 0;  // before the thread can look for these bounds
    bounds_ = bounds;
  }
  wake();
}

void engine_io_thread::finish() {
  request_kill_at_once();
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();  // within an event; the thread keeps this object until it has reaped
  } else {
    thread_.join();
  }
}

void engine_io_thread::run(std::promise<result<void>> started) {
  // Writing to an engine that has died must be an error, not a signal; and no handler of the program's runs here.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);

  auto child = spawn_in_scratch();
  if (!child) {
    started.set_value(child.failure());
    return;
  }
  child_ = std::move(*child);
  started.set_value({});
  loop();
  auto report = reap();
  auto events = std::exchange(events_, {});
  events.on_exit(std::move(report));
}

result<spawned_process> engine_io_thread::spawn_in_scratch() {
  if (!options_.scratch) return spawn(options_);
  scratch_ = options_.scratch->path() + "/XXXXXX";
  if (::mkdtemp(scratch_.data()) == nullptr) {
    return {errc::engine_start, scratch_ + ": " + std::strerror(errno)};
  }
  auto options = options_;
  options.environment["TMPDIR"] = scratch_;
  if (options.confinement) {
    options.environment["HOME"] = scratch_;
    options.access.writable.push_back(scratch_);
    options.argv = confined(*options.confinement, options.access, options.argv);
  }
  auto child = spawn(options);
  if (!child) remove_tree(scratch_);
  return child;
}

void engine_io_thread::loop() {
  std::vector<char> buffer(read_bytes_max);
  while (true) {
    take_requests();
    check_usage();
    const short writable = child_.input && has_output() ? POLLOUT : 0;
    std::array<pollfd, 5> fds{{{child_.pidfd.get(), POLLIN, 0},
                               {wake_.get(), POLLIN, 0},
                               {child_.output.get(), POLLIN, 0},
                               {child_.log.get(), POLLIN, 0},
                               // Without anything to write, even a hang-up is none of our business.
                               {writable != 0 ? child_.input.get() : -1, writable, 0}}};
    int timeout_ms = -1;
    if (auto timer = next_timer()) {
      const auto wait = std::chrono::ceil<std::chrono::milliseconds>(*timer - steady::now()).count();
      timeout_ms = static_cast<int>(std::clamp<std::int64_t>(wait, 0, std::int64_t{1} << 30));
    }
    if (::poll(fds.data(), fds.size(), timeout_ms) < 0) continue;  // EINTR: every signal is blocked, so hardly ever
    if (fds[0].revents != 0) return;
    if (fds[1].revents != 0) {
      eventfd_t count;
      (void)::eventfd_read(wake_.get(), &count);
    }
    if (fds[2].revents != 0 && !read_output(buffer)) child_.output.reset();
    if (fds[3].revents != 0 && !read_log(buffer)) child_.log.reset();
    if (fds[4].revents != 0) write_queued();
  }
}

void engine_io_thread::take_requests() {
  bool kill_at_once;
  bool stop_wanted;
  {
    std::lock_guard lock(mutex_);
    kill_at_once = kill_at_once_;
    stop_wanted = stop_wanted_;
    deaf_ = cause_.has_value() || kill_at_once_;
    if (deaf_) {
      queue_.clear();
      queue_bytes_ = 0;
    }
  }
  if (kill_at_once) escalate(phase::killed);
  if (deaf_) escalate(phase::terminating);
  if (stop_wanted) escalate(phase::closing);
  if (phase_ == phase::closing && !has_output()) child_.input.reset();
  if (grace_end_ && steady::now() >= *grace_end_) {
    escalate(phase_ == phase::closing ? phase::terminating : phase::killed);
  }
}

void engine_io_thread::escalate(phase next) {
  if (next <= phase_) return;
  phase_ = next;
  grace_end_ = steady::now() + options_.stop_grace;
  if (next == phase::closing) return;
  child_.input.reset();
  current_.reset();
  if (next == phase::killed) grace_end_.reset();
  ::kill(-child_.pid, next == phase::killed ? SIGKILL : SIGTERM);
}

void engine_io_thread::check_usage() {
  std::optional<engine_bounds> begun;
  {
    std::lock_guard lock(mutex_);
    begun = std::exchange(bounds_, std::nullopt);
  }
  if (begun) watch_.begin(*begun, child_.pid);
  const bool watched = watch_.active() && phase_ < phase::terminating;
  const auto now = steady::now();
  if (watched && !begun && next_look_ && now < *next_look_) return;
  next_look_ = watched ? std::optional(now + options_.watch_period) : std::nullopt;
  if (!watched) return;
  last_look_ = now;
  auto written = options_.access.writable;
  if (!scratch_.empty()) written.push_back(scratch_);
  auto passed = watch_.look(child_.pid, written);
  memory_peak_ = watch_.memory_peak();
  if (passed) request_kill(*std::move(passed));
}

void engine_io_thread::note_memory() {
  last_look_ = steady::now();
  watch_.note_memory(child_.pid);
  memory_peak_ = watch_.memory_peak();
}

std::optional<time_point> engine_io_thread::next_timer() const {
  if (grace_end_ && next_look_) return std::min(*grace_end_, *next_look_);
  return grace_end_ ? grace_end_ : next_look_;
}

// By the time that bubblewrap has ended, its children are not its any longer.
void engine_io_thread::remember_inside() {
  if (options_.confinement && inside_.empty()) inside_ = open_children(child_.pid);
}

// What is in the sandbox ends with bubblewrap, but a moment later; until then it might write into its directories.
void engine_io_thread::await_inside() {
  for (const auto& process : inside_) {
    ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0U);
    pollfd ended{process.get(), POLLIN, 0};
    const std::chrono::milliseconds most = limits::engine_kill_max;
    (void)::poll(&ended, 1, static_cast<int>(most.count()));
  }
}

bool engine_io_thread::has_output() {
  if (current_) return true;
  std::lock_guard lock(mutex_);
  return !queue_.empty();
}

void engine_io_thread::write_queued() {
  if (!current_) {
    std::lock_guard lock(mutex_);
    if (queue_.empty()) return;
    current_ = std::move(queue_.front());
    queue_.pop_front();
  }
  const auto skipped = std::min(current_->written, current_->prefix.size());
  const auto body_from = current_->written - skipped;
  std::array<iovec, 2> parts{{{current_->prefix.data() + skipped, current_->prefix.size() - skipped},
                              {current_->body.data() + body_from, current_->body.size() - body_from}}};
  const auto n = ::writev(child_.input.get(), parts.data(), parts.size());
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) {
    // It has closed its input or is dead. Either way nothing can reach it any longer; its exit tells the rest.
    child_.input.reset();
    current_.reset();
    return;
  }
  current_->written += static_cast<std::size_t>(n);
  if (current_->written < current_->size()) return;
  std::lock_guard lock(mutex_);
  queue_bytes_ -= current_->body.size();
  current_.reset();
}

// Both readers: false when nothing more will come.
bool engine_io_thread::read_output(std::vector<char>& buffer) {
  const auto n = ::read(child_.output.get(), buffer.data(), buffer.size());
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  remember_inside();
  if (deaf_) return true;
  const byte_view piece = view_of({buffer.data(), static_cast<std::size_t>(n)});
  if (auto fed = parser_.feed(piece, [this](bytes frame) { take_frame(std::move(frame)); }); !fed) {
    deaf_ = true;
    request_kill(fed.failure().with_context("the engine's output"));
  }
  return true;
}

void engine_io_thread::take_frame(bytes frame) {
  if (deaf_) return;
  result<void> allowed;
  {
    std::lock_guard lock(mutex_);
    allowed = allowance_.take(frame.size());
  }
  if (!allowed) {
    deaf_ = true;
    return request_kill(allowed.failure().with_context("the engine's output"));
  }
  // Each phase of a job, and its end, is a moment at which much memory may be in use.
  if (watch_.active() && phase_ < phase::terminating && steady::now() >= last_look_ + limits::engine_memory_period)
    note_memory();
  events_.on_frame(std::move(frame));
}

bool engine_io_thread::read_log(std::vector<char>& buffer) {
  const auto n = ::read(child_.log.get(), buffer.data(), buffer.size());
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  log_.append({buffer.data(), static_cast<std::size_t>(n)});
  return true;
}

exit_report engine_io_thread::reap() {
  // Before the leader is reaped, so that the group's number cannot have been given away.
  ::kill(-child_.pid, SIGKILL);
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(child_.pid), &info, WEXITED) < 0 && errno == EINTR) {
  }
  await_inside();
  drain();
  if (!scratch_.empty()) remove_tree(scratch_);
  exit_report report;
  if (info.si_code == CLD_EXITED) {
    report.code = info.si_status;
    // See `confined`: so it passes on what a signal has ended.
    constexpr int signalled = 128;
    if (options_.confinement && report.code > signalled) {
      report.how = exit_report::ending::signalled;
      report.signal = std::exchange(report.code, 0) - signalled;
    }
  } else {
    report.how = exit_report::ending::signalled;
    report.signal = info.si_status;
  }
  report.log_tail = log_.take();
  child_.input.reset();
  child_.output.reset();
  child_.log.reset();
  child_.pidfd.reset();
  std::lock_guard lock(mutex_);
  ended_ = true;
  queue_.clear();
  if (cause_) report.cause = *cause_;
  return report;
}

void engine_io_thread::drain() {
  // What was in the pipes when it died. A process that has left the group may still write: a bound ends that.
  constexpr int reads_max = 64;
  std::vector<char> buffer(read_bytes_max);
  for (auto* file : {&child_.output, &child_.log}) {
    for (int i = 0; i < reads_max && *file; ++i) {
      pollfd ready{file->get(), POLLIN, 0};
      if (::poll(&ready, 1, 0) <= 0 || (ready.revents & POLLIN) == 0) break;
      if (!(file == &child_.output ? read_output(buffer) : read_log(buffer))) break;
    }
  }
}

}  // namespace fxfarm
