#pragma once
// What a client tells about its graphs, and what it is told. See client/client.hpp.

#include "runtime/bytes.hpp"
#include "runtime/error.hpp"
#include "runtime/platform.hpp"
#include "runtime/stage.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

// One graph for the farm.
struct graph_request {
  std::string graph_key;  // 64 hex digits
  std::string name;       // for people
  blob graph;             // serialized; kept until the last stage is settled
  stage_list stages;      // worst to best, 1 to limits::stages_per_graph_max
  platform target;
  std::map<std::string, std::string> parts;  // of the graph key, for people: digests by name; may be left out
  double prepare_seconds = 0;                // from the program's request to the submit
};

// Calls of all graphs of a process, by what they ran.
struct call_counts {
  std::uint64_t eager = 0;
  std::uint64_t compiled = 0;
};

enum class stage_state { waiting, queued, running, fetched, loaded, failed, superseded, rolled_back };
std::string_view to_string(stage_state s);

struct stage_status {
  std::string name;
  std::string stage_key;
  stage_state state = stage_state::waiting;
  std::string source;            // "memory", "disk", "redis", or the worker that compiled it; empty until known
  std::string error;             // "code: reason" when failed or rolled back
  double seconds_to_ready = 0;   // from submit to the artifact's arrival
  double seconds_to_switch = 0;  // from submit to loaded
  double seconds_load = 0;
  double seconds_queued = 0;
  std::map<std::string, double> phases;  // of the compile, seconds
};

// A stage whose artifact has arrived and whose turn it is. The loader must answer each task exactly once.
struct load_task {
  std::uint64_t graph = 0;  // what client::submit returned
  std::size_t stage = 0;    // index into graph_request::stages
  std::string stage_key;
  blob artifact;      // digest and, where signers are named, signature verified
  stage_status told;  // what is known of the stage by now
  // Thread-safe. Success: the stage is in the slot. errc::corrupt: the artifact is asked for again; any other failure
  // settles the stage as failed.
  std::function<void(result<void>)> done;
};

struct graph_status {
  std::uint64_t id = 0;
  std::string graph_key;
  std::string name;
  std::string stage = "eager";  // what calls run: the best that is loaded
  std::string farm;             // endpoint that serves it
  bool settled = false;         // nothing more will change
  std::vector<stage_status> stages;
};

// A rank of a job has loaded a stage and waits for the others; see net::stage_armed.
struct switch_report {
  std::string job;
  std::string group;
  unsigned rank = 0;
  unsigned world = 0;
  std::string stage_key;
  unsigned stage = 0;
  std::uint64_t calls = 0;
  double calls_per_second = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("job", s.job);
    f("group", s.group);
    f("rank", s.rank);
    f("world", s.world);
    f("stage_key", s.stage_key);
    f("stage", s.stage);
    f("calls", s.calls);
    f("calls_per_second", s.calls_per_second);
  }
};

// A proposal, or what became of one; see net::switch_proposed and net::switch_decided.
struct switch_notice {
  std::string group;
  std::string stage_key;
  std::string round;
  std::string verdict;     // "propose", "commit", "abort" or "pass"
  std::uint64_t call = 0;  // of a proposal
  std::string reason;
};

struct switch_answer {
  std::string group;
  std::string round;
  bool yes = false;
  std::uint64_t calls = 0;
  double calls_per_second = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("group", s.group);
    f("round", s.round);
    f("yes", s.yes);
    f("calls", s.calls);
    f("calls_per_second", s.calls_per_second);
  }
};

enum class wait_result { reached, failed, timed_out };

}  // namespace fxfarm
