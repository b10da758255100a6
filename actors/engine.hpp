#pragma once
// One engine slot of a worker: keeps an engine process warm, feeds it one job at a time, ends it past a deadline, and
// starts another when it dies.
//
// A tenant is a namespace that shares nothing with others; the empty one stands for all that share. An engine process
// serves one tenant, since a job may change the process and its cache: the tenant of its first job, or the one that it
// was started for, whose cache it then has. One that was started for nobody has a cache of its own, empty at first.

#include "actors/engine_frames.hpp"
#include "actors/messages.hpp"
#include "monitoring/metrics.hpp"
#include "runtime/engine_cache.hpp"
#include "runtime/engine_process.hpp"

#include <caf/stateful_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

namespace fxfarm::actors {

using engine_actor =
    caf::typed_actor<caf::reacts_to<engine_job>, caf::reacts_to<engine_cancel>, caf::reacts_to<engine_frame>,
                     caf::reacts_to<engine_exited>, caf::reacts_to<engine_deadline>, caf::reacts_to<engine_restart>,
                     caf::reacts_to<engine_change>, caf::reacts_to<engine_kernel_answer>, caf::reacts_to<drain>>;
// Whoever owns the engines, in practice a worker.
using engine_owner =
    caf::typed_actor<caf::reacts_to<engine_state>, caf::reacts_to<engine_outcome>, caf::reacts_to<engine_kernel>>;

struct engine_settings {
  engine_options process;
  engine_bounds bounds;                                     // of a job
  std::string cache_directory;                              // empty: engines have none that outlives them
  std::optional<std::string> first_tenant = std::string();  // of engines that have served nobody
  std::chrono::milliseconds start_max = limits::engine_start_max;
  std::chrono::milliseconds restart_delay_min = limits::engine_restart_delay_min;
  std::chrono::milliseconds restart_delay_max = limits::engine_restart_delay_max;
};

class engine_slot {
public:
  using pointer = engine_actor::stateful_pointer<engine_slot>;
  static inline const char* name = "engine";

  engine_slot() = default;
  void start(pointer self, std::size_t slot, engine_owner owner, engine_settings settings,
             monitoring::worker_probe* probe);
  void launch();
  void run(engine_job& job);
  void cancel(const engine_cancel& m);
  void take_frame(const engine_frame& m);
  void take_exit(const engine_exited& m);
  void pass_deadline(const engine_deadline& m);
  void change(const engine_change& m);
  void bring(const engine_kernel_answer& m);
  void end();

private:
  void take_report(const engine_report& report);
  void say_hello(const engine_hello& hello);
  void ask_for_kernel(const engine_kernel_wanted& wanted);
  void settle_job(blob artifact, std::map<std::string, double> phases, std::optional<error> why);
  void restart_later(const error& why);
  result<engine_options> process_options();
  result<void> give_cache(engine_options& options);
  // Whether what the last process lacks can be had from one that runs no jobs.
  bool prepare_next(const engine_exited& m);

  engine_actor::pointer self_ = nullptr;
  std::size_t slot_ = 0;
  engine_owner owner_;
  engine_settings settings_;
  monitoring::worker_probe* probe_ = nullptr;

  std::unique_ptr<engine_process> process_;
  std::uint64_t generation_ = 0;
  bool greeted_ = false;  // said hello in a protocol that we speak
  bool ready_ = false;
  unsigned failed_starts_ = 0;  // in a row
  bool ending_ = false;
  std::optional<std::string> job_;  // id
  unsigned kernels_elsewhere_ = 0;  // that it may await at a time, as long as it has the job
  unsigned kernels_awaited_ = 0;    // that it has asked for and has not been answered
  std::optional<error> fatal_;      // what the engine said before it left
  std::optional<std::string> tenant_;
  std::unique_ptr<engine_cache> cache_;  // of the process; null: it has one of its own, or none
  bool changing_ = false;                // it was ended to be followed by one for another tenant
  bool preparing_ = false;               // this process makes what others read, and runs no jobs
  bool prepared_ = false;                // one such has ended well since the last engine was ready
  std::chrono::milliseconds restart_delay_{0};
};

engine_actor::behavior_type engine_behavior(engine_slot::pointer self, std::size_t slot, engine_owner owner,
                                            engine_settings settings, monitoring::worker_probe* probe);

}  // namespace fxfarm::actors
