#pragma once
// What workers and coordinators say to each other: what a worker can do, and the jobs that it is given. How a message
// is declared is said in net/messages.hpp.

#include "runtime/artifact_signature.hpp"
#include "runtime/platform.hpp"
#include "runtime/stage.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm::net {

// What the worker can do. Sent after the handshake and when anything of it changes.
struct worker_offer {
  static constexpr std::string_view tag = "worker_offer";
  std::string name;                  // for people
  platform runs_on;                  // what its engines reported; torch is empty until one has
  unsigned slots = 0;                // engines that can take a job, in all
  unsigned taken = 0;                // of these, by jobs of other coordinators
  std::vector<std::string> running;  // ids of this coordinator's jobs; a lease that it does not know is cancelled
  bool draining = false;             // finishes what it has, takes no more
  std::string problem;       // why there are no slots, when that is a fault ("engine_start: no module named torch")
  std::string sandbox = {};  // what its engines are in, for people: "bubblewrap", or "none: " and why
  std::uint64_t engine_memory_bytes = 0;  // that each of them may use; 0: no limit
  unsigned gpus = 0;        // each for one job that measures; 0 of a worker on a GPU: it does not say, and has one
  unsigned gpus_taken = 0;  // of these, by jobs of other coordinators
  std::uint64_t memory_bytes = 0;  // that its engines may use together; 0: it is not counted
  std::uint64_t memory_taken = 0;  // of these, by jobs of other coordinators
  bool can_be_kept = false;        // it heeds keep_worker
  bool can_help = false;           // its engines compile single kernels, too
  std::uint64_t heeds = 0;         // the number of this coordinator's keep_worker that it heeds; 0: of none

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("name", s.name);
    f("runs_on", s.runs_on);
    f("slots", s.slots);
    f("taken", s.taken);
    f("running", s.running);
    f("draining", s.draining);
    f("problem", s.problem);
    f("sandbox", s.sandbox);
    f("engine_memory_bytes", s.engine_memory_bytes);
    f("gpus", s.gpus);
    f("gpus_taken", s.gpus_taken);
    f("memory_bytes", s.memory_bytes);
    f("memory_taken", s.memory_taken);
    f("can_be_kept", s.can_be_kept);
    f("can_help", s.can_help);
    f("heeds", s.heeds);
  }
};

// Attachment: the serialized graph; of a kernel, what its compile needs to know.
struct job {
  static constexpr std::string_view tag = "job";
  std::string id;  // unique for each attempt
  std::string stage_key;
  std::string graph_key;
  std::string name;
  stage_spec stage;
  platform target;
  std::uint64_t lease_ms = 0;
  std::uint64_t deadline_ms = 0;
  unsigned rank = 0;               // of the stage in its plan
  unsigned attempts = 0;           // with this one
  std::string space;               // of the client that asked first
  std::string scope = {};          // as in welcome, of the clients that asked
  std::string ticket = {};         // whoever has it was given this job; empty where keys are off
  bool measures = false;           // it times kernels: one of the worker's `gpus` is its as long as its lease
  std::uint64_t memory_bytes = 0;  // so many of the worker's are, likewise
  unsigned kernels_elsewhere = 0;  // so many of its kernels may be asked for at a time, see kernel_wanted
  bool kernel = false;             // it is a kernel of some job: to be started at once, or refused
  std::uint64_t ends_keep = 0;     // the number of a keep_worker that ends when the worker counts this job; 0: of none

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("id", s.id);
    f("stage_key", s.stage_key);
    f("graph_key", s.graph_key);
    f("name", s.name);
    f("stage", s.stage);
    f("target", s.target);
    f("lease_ms", s.lease_ms);
    f("deadline_ms", s.deadline_ms);
    f("rank", s.rank);
    f("attempts", s.attempts);
    f("space", s.space);
    f("scope", s.scope);
    f("ticket", s.ticket);
    f("measures", s.measures);
    f("memory_bytes", s.memory_bytes);
    f("kernels_elsewhere", s.kernels_elsewhere);
    f("kernel", s.kernel);
    f("ends_keep", s.ends_keep);
  }
};

// A job that runs here although the coordinator that gave it is gone: whoever gets this takes it over, or cancels it.
struct job_held {
  static constexpr std::string_view tag = "job_held";
  job what;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("job", s.what);
  }
};

// Renews the lease of every job named; sent at a third of the lease.
struct job_alive {
  static constexpr std::string_view tag = "job_alive";
  std::vector<std::string> ids;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("ids", s.ids);
  }
};

// Attachment: the artifact.
struct job_done {
  static constexpr std::string_view tag = "job_done";
  std::string id;
  std::string stage_key;
  std::map<std::string, double> phases;  // seconds
  artifact_signature signature = {};     // by this worker, see runtime/artifact_signature.hpp
  std::uint64_t memory_bytes = 0;        // resident, that the job was seen to have at most; 0: not known

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("id", s.id);
    f("stage_key", s.stage_key);
    f("phases", s.phases);
    f("signer", s.signature.signer);
    f("signature", s.signature.value);
    f("memory_bytes", s.memory_bytes);
  }
};

struct job_failed {
  static constexpr std::string_view tag = "job_failed";
  std::string id;
  std::string stage_key;
  std::string code;  // errc by name
  std::string reason;
  std::uint64_t memory_bytes = 0;  // as in job_done

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("id", s.id);
    f("stage_key", s.stage_key);
    f("code", s.code);
    f("reason", s.reason);
    f("memory_bytes", s.memory_bytes);
  }
};

// A kernel of a job that this worker runs, for somebody whose slot is idle. Answered by kernel_made or kernel_unmade,
// or not at all: the worker's engine goes on without. Attachment: what its compile needs to know.
struct kernel_wanted {
  static constexpr std::string_view tag = "kernel_wanted";
  std::string job;     // its id
  std::string kernel;  // what the engine calls it, once within the job

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("job", s.job);
    f("kernel", s.kernel);
  }
};

// Attachment: the kernel's library.
struct kernel_made {
  static constexpr std::string_view tag = "kernel_made";
  std::string job;
  std::string kernel;
  artifact_signature signature = {};  // by the worker that made it, of make_kernel_key

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("job", s.job);
    f("kernel", s.kernel);
    f("signer", s.signature.signer);
    f("signature", s.signature.value);
  }
};

// Nobody will compile that kernel.
struct kernel_unmade {
  static constexpr std::string_view tag = "kernel_unmade";
  std::string job;
  std::string kernel;
  std::string code;  // errc by name; busy: no slot is idle
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("job", s.job);
    f("kernel", s.kernel);
    f("code", s.code);
    f("reason", s.reason);
  }
};

// An operator has the worker finish what it has and take no more, or take jobs again. It tells every coordinator so by
// its offers.
struct set_drain {
  static constexpr std::string_view tag = "set_drain";
  bool draining = false;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("draining", s.draining);
  }
};

// A job of this coordinator waits until enough of the worker's memory is free, and has for long enough, or no longer.
// The worker then offers no slots to others: one coordinator at a time, in the order in which they have asked. The
// same coordinator may ask again before its first job has come: that is another place in that line, so each has a
// number. Where a job ends it, the job says so instead (`ends_keep`), since an attachment may come after what was sent
// later, and the memory is not free before the job is counted.
struct keep_worker {
  static constexpr std::string_view tag = "keep_worker";
  bool kept = false;
  std::uint64_t number = 0;  // which one begins or ends, unique for the coordinator and worker; not 0

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("kept", s.kept);
    f("number", s.number);
  }
};

// Nobody waits for the job any longer, or its lease has moved on.
struct cancel_job {
  static constexpr std::string_view tag = "cancel_job";
  std::string id;
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("id", s.id);
    f("reason", s.reason);
  }
};

}  // namespace fxfarm::net
