#pragma once
// The thread behind an engine_process: it starts the engine, carries frames and log through its pipes, watches what it
// uses, ends it and reaps it. Only for engine_process, whose header says what each operation promises.

#include "runtime/bytes.hpp"
#include "runtime/engine_process.hpp"
#include "runtime/engine_watch.hpp"
#include "runtime/error.hpp"
#include "runtime/file_handle.hpp"
#include "runtime/frame_codec.hpp"
#include "runtime/limits.hpp"
#include "runtime/process_spawn.hpp"
#include "runtime/time_point.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace fxfarm {

// The last bytes of a stream, in at most twice as much memory.
class tail_buffer {
public:
  void append(std::string_view text) {
    text_.append(text.substr(text.size() - std::min(text.size(), limits::engine_log_bytes_max)));
    if (text_.size() > 2 * limits::engine_log_bytes_max) shrink();
  }
  std::string take() {
    shrink();
    return std::move(text_);
  }

private:
  void shrink() { text_.erase(0, text_.size() - std::min(text_.size(), limits::engine_log_bytes_max)); }

  std::string text_;
};

// The thread that owns the child: only it reads, writes, signals and reaps, so no signal can reach a reused pid.
// What is public may be called from any thread and does not wait for the engine, save `start` and `finish`.
class engine_io_thread : public std::enable_shared_from_this<engine_io_thread> {
public:
  engine_io_thread(engine_options options, engine_events events)
      : options_(std::move(options)),
        events_(std::move(events)),
        allowance_(options_.frames_unasked_max, options_.frame_bytes_max),
        parser_(options_.frame_bytes_max) {}

  result<void> start();  // once; returns when the engine runs, or cannot
  result<void> send(bytes frame);
  void request_kill(error cause);
  void request_kill_at_once();
  void request_stop();
  void watch(const engine_bounds& bounds);
  void finish();  // the last call: kills the engine and joins the thread, or lets go of it where that is the caller
  std::uint64_t memory_peak() const { return memory_peak_; }
  int pid() const { return child_.pid; }

private:
  // A frame on its way into the pipe.
  struct outgoing {
    std::array<std::byte, frame_prefix_bytes> prefix;
    bytes body;
    std::size_t written = 0;

    std::size_t size() const { return prefix.size() + body.size(); }
  };

  // How hard the engine has been asked to end.
  enum class phase { running, closing, terminating, killed };

  void wake() const;
  void run(std::promise<result<void>> started);
  result<spawned_process> spawn_in_scratch();
  void loop();
  void take_requests();
  void escalate(phase next);
  void check_usage();
  void note_memory();
  void remember_inside();
  void await_inside();
  std::optional<time_point> next_timer() const;
  void write_queued();
  bool has_output();
  bool read_output(std::vector<char>& buffer);
  void take_frame(bytes frame);
  bool read_log(std::vector<char>& buffer);
  exit_report reap();
  void drain();

  const engine_options options_;
  engine_events events_;
  file_handle wake_;
  std::thread thread_;

  std::mutex mutex_;  // guards what follows
  std::deque<outgoing> queue_;
  std::size_t queue_bytes_ = 0;
  frame_allowance allowance_;  // until the next frame to it
  bool ended_ = false;
  bool stop_wanted_ = false;
  bool kill_at_once_ = false;
  std::optional<error> cause_;
  std::optional<engine_bounds> bounds_;  // to be watched from now on

  std::atomic<std::uint64_t> memory_peak_{0};  // of watch_

  // Of the thread only; child_.pid is written once, before start returns.
  spawned_process child_;
  std::string scratch_;  // its TMPDIR; empty: not its own
  frame_parser parser_;
  tail_buffer log_;
  std::optional<outgoing> current_;
  phase phase_ = phase::running;
  bool deaf_ = false;  // it was killed for a cause: its frames no longer count
  std::optional<time_point> grace_end_;
  std::optional<time_point> next_look_;
  time_point last_look_;
  engine_watch watch_;
  std::vector<file_handle> inside_;  // what bubblewrap runs, once it said something
};

}  // namespace fxfarm
