#pragma once
// The client library: what a program that runs models links to get compiled stages from a farm. No Python in here; the
// Python binding is one user of it.
//
// Threads: every function may be called from any thread. A client does not survive fork(): in the child, leak it
// (`abandon`) and start a new one.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/bytes.hpp"
#include "runtime/error.hpp"
#include "runtime/platform.hpp"
#include "runtime/stage.hpp"

namespace fxfarm {

struct client_options {
  // Coordinators, such as "tcp://farm-0:7070". Empty: the local farm of this user and host.
  std::vector<std::string> endpoints;
  // Socket of the local farm ("ipc:///run/user/0/fxfarm/....sock"), and the command that starts it when it does not
  // answer. An empty command: there is no local farm to fall back to.
  std::string local_endpoint;
  std::vector<std::string> local_command;
  std::string space = "default";  // namespace
  std::string salt;               // must equal the farm's
};

// One graph for the farm.
struct graph_request {
  std::string graph_key;  // 64 hex digits
  std::string name;       // for people
  blob graph;             // serialized; kept until the last stage is settled
  stage_list stages;      // worst to best, 1 to limits::stages_per_graph_max
  platform target;
};

// A stage whose artifact has arrived and whose turn it is. The loader must answer each task exactly once.
struct load_task {
  std::uint64_t graph = 0;  // what client::submit returned
  std::size_t stage = 0;    // index into graph_request::stages
  std::string stage_key;
  blob artifact;            // digest verified
  // Thread-safe. Success: the stage is in the slot. errc::corrupt: the artifact is asked for again; any other failure
  // settles the stage as failed.
  std::function<void(result<void>)> done;
};

enum class stage_state { waiting, queued, running, fetched, loaded, failed, superseded };
std::string_view to_string(stage_state s);

struct stage_status {
  std::string name;
  std::string stage_key;
  stage_state state = stage_state::waiting;
  std::string source;                    // "memory", "disk", or the worker that compiled it; empty until known
  std::string error;                     // "code: reason" when failed
  double seconds_to_ready = 0;           // from submit to the artifact's arrival
  double seconds_to_switch = 0;          // from submit to loaded
  double seconds_load = 0;
  double seconds_queued = 0;
  std::map<std::string, double> phases;  // of the compile, seconds
};

struct graph_status {
  std::uint64_t id = 0;
  std::string graph_key;
  std::string name;
  std::string stage = "eager";  // the best that is loaded
  bool settled = false;         // nothing more will change
  std::vector<stage_status> stages;
};

class client {
 public:
  // `load` is called on an actor thread when an artifact is there; it must hand the task to a thread of its own.
  // Errors: bad_input for options that cannot be used. An unreachable farm is no error; it shows in graphs().
  static result<std::unique_ptr<client>> start(client_options options, std::function<void(load_task)> load);
  // Stops within a bounded time; tasks not yet answered may be answered later, to no effect.
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  // Subscribes to a graph's stages; returns its id. Errors: bad_input, too_large.
  result<std::uint64_t> submit(graph_request request);
  // The graph's slot is gone: stop waiting for its stages.
  void release(std::uint64_t graph);

  // Waits until every graph submitted so far has reached the stage of that name (empty: the last of its plan) or failed
  // for good. False when `timeout` passes first, or when a graph failed to reach it. Waits at most `timeout`; call it in slices to react
  // to signals.
  enum class wait_result { reached, failed, timed_out };
  wait_result wait(const std::string& stage, std::chrono::milliseconds timeout);

  std::vector<graph_status> graphs() const;
  // Counters by name: graphs, lookups, stages_loaded, stages_failed, artifact_bytes, local_farms_started, ...
  std::map<std::string, std::uint64_t> stats() const;
  void reset_stats();

  // In the child of a fork: forget everything without touching threads that are not there.
  void abandon();

 private:
  struct impl;
  explicit client(std::unique_ptr<impl> i);
  std::unique_ptr<impl> impl_;
};

}  // namespace fxfarm
