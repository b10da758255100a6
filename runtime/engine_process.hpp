#pragma once
// One engine: a child process that speaks frames on its standard input and output. What the frames mean is not known
// here, nor when the engine has run for too long: its owner knows.

#include "runtime/bytes.hpp"
#include "runtime/error.hpp"
#include "runtime/limits.hpp"
#include "runtime/sandbox.hpp"
#include "runtime/work_directory.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace fxfarm {

class engine_io_thread;

struct engine_options {
  std::vector<std::string> argv;                   // program (looked up in PATH without a '/') and its arguments
  std::vector<std::string> guard;                  // runs guard_group: path, then arguments from the name on; or empty
  std::map<std::string, std::string> environment;  // added to ours
  std::string directory;                           // working directory; empty: ours
  std::shared_ptr<const work_directory> scratch;   // gets a TMPDIR of its own in it, gone when it ends; null: ours
  int nice = 0;                                    // added to ours
  std::vector<unsigned> cpus;                      // CPUs it may run on, see last_cpus; empty: those that we may
  std::uint64_t address_space_bytes = 0;           // RLIMIT_AS of each of its processes; 0: ours
  std::uint64_t open_files = 0;                    // RLIMIT_NOFILE; 0, or more than we may: ours
  std::uint64_t file_bytes = 0;                    // RLIMIT_FSIZE; 0: ours
  std::shared_ptr<const sandbox> confinement;      // null: none. Then only variables that it names are ours
  sandbox_access access;                           // in it, besides its scratch
  std::size_t frame_bytes_max = limits::engine_frame_bytes_max;
  unsigned frames_unasked_max = limits::engine_frames_unasked_max;
  std::chrono::milliseconds stop_grace = limits::engine_stop_grace;      // from a request to end to the next harder one
  std::chrono::milliseconds watch_period = limits::engine_watch_period;  // see watch
};

// What an engine, its compilers and all else that it starts may use together; 0: as much as there is.
struct engine_bounds {
  std::uint64_t memory_bytes = 0;         // resident; what processes share counts for each
  std::chrono::milliseconds cpu_time{0};  // from the call of `watch` on
  unsigned processes = 0;                 // at a time
  std::uint64_t disk_bytes = 0;           // in its scratch, and in what it may write
  bool memory_noted = false;              // no bound: what it has is watched all the same, see memory_peak
};

// The last `count` of the CPUs that this process may use: programs that choose their own tend to take the first ones.
// All of them when there are fewer; none for 0.
std::vector<unsigned> last_cpus(unsigned count);

// What a guard does: waits for the end of the engine, which started it, then kills its own process group, and with it
// the compilers that the engine had running. Does not return.
[[noreturn]] void guard_group();

struct exit_report {
  enum class ending { exited, signalled };
  ending how = ending::exited;
  int code = 0;    // when exited
  int signal = 0;  // when signalled
  // Why it was ended: what kill was told, `protocol` or `memory`; code none when it ended by itself or by stop.
  error cause{errc::none, {}};
  std::string log_tail;  // the last limits::engine_log_bytes_max of its standard error
};

// "exited with 1", "killed by signal 9 (Killed), because memory: ...".
std::string to_string(const exit_report& report);

// Called on the engine's own thread, one at a time; must not block and must not throw. Between two frames to it an
// engine may send frames_unasked_max ones, together no longer than one may be; one that sends more is killed with
// `protocol`, so whoever keeps them to be read later keeps no more than that for each frame sent.
struct engine_events {
  std::function<void(bytes)> on_frame;
  std::function<void(exit_report)> on_exit;  // exactly once, and nothing comes after it
};

// Thread-safe. In a sandbox the child is bubblewrap, whose end is the end of all that is in it. The child runs in a
// session and process group of its own, which is killed as a whole when the engine ends for whatever reason, so
// compilers that it started die with it. It dies with us, too (PR_SET_PDEATHSIG, which the kernel ties to the thread
// that forked: the engine's own thread does, and lives until the child is reaped), and its guard then kills the rest of
// the group. Idle engines cost no CPU.
class engine_process {
public:
  // Returns once the program runs. Errors: `engine_start` naming the program and the reason; `bad_input` for options
  // that cannot be. Events are told only when it succeeds; the first may come before it returns.
  static result<std::unique_ptr<engine_process>> start(engine_options options, engine_events events);

  // Kills the group at once, reaps it and tells on_exit before it returns; called from within an event it does not
  // wait, and events may still come until on_exit.
  ~engine_process();
  engine_process(const engine_process&) = delete;
  engine_process& operator=(const engine_process&) = delete;

  // Queues a frame; never blocks. Errors: `too_large`, `bad_input` for an empty frame, `busy` when too much is queued,
  // `shutdown` when the engine has ended or was told to.
  result<void> send(bytes frame);

  // SIGTERM to the group now, SIGKILL after the grace. The first cause is reported; frames are no longer delivered.
  void kill(error cause);

  // Lets it write out what is queued, then closes its standard input. After the grace SIGTERM, after another SIGKILL.
  void stop();

  // From now on ends the engine once it passes one of the bounds: with `memory`, `deadline` for its CPU time, else
  // `too_large`. Without any it is not watched, which is how it starts.
  void watch(const engine_bounds& bounds);

  // The most resident memory that it, its compilers and all else that it has started were seen to have together since
  // `watch`; what processes share counts for each. It is looked at when that begins, every watch_period, and when the
  // engine says something, at most each limits::engine_memory_period; 0 where nothing is watched.
  std::uint64_t memory_peak() const;

  int pid() const;  // for people

private:
  explicit engine_process(std::shared_ptr<engine_io_thread> io);
  std::shared_ptr<engine_io_thread> io_;
};

}  // namespace fxfarm
