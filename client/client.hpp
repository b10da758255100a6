#pragma once
// The client library: what a program that runs models links to get compiled stages from a farm. No Python in here; the
// Python binding is one user of it.
//
// Threads: every function may be called from any thread. A client does not survive fork(): in the child, leak it
// (`abandon`) and start a new one.

#include "runtime/client_types.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace fxfarm {

struct client_options {
  // Coordinators, such as "tcp://farm-0:7070". Empty: the local farm of this user and host.
  std::vector<std::string> endpoints;
  // Socket of the local farm ("ipc:///run/user/0/fxfarm/....sock"), and the command that starts it when it does not
  // answer. An empty command: there is no local farm to fall back to.
  std::string local_endpoint;
  std::vector<std::string> local_command;
  // How the client proves who it is to those endpoints, and knows them; see runtime/config.hpp. The local farm has no
  // keys.
  std::string key;
  std::vector<std::string> server_public_key;
  // File of the signers whose artifacts those endpoints may send, in the form of authorized keys, looked at again
  // whenever an artifact comes; empty: all are loaded. What the local farm sends needs no signature.
  std::string signers;
  bool insecure = false;          // endpoints may leave the host without keys and signers
  std::string space = "default";  // namespace
  std::string salt;               // must equal the farm's
  std::string metrics;            // "host:port" to serve metrics at, port 0: any; empty: nowhere
  // For metrics: counts of all calls of the process. Any thread; must not call the client.
  std::function<call_counts()> calls = [] { return call_counts{}; };
};

class client {
public:
  // `load` is called on an actor thread when an artifact is there; it must hand the task to a thread of its own.
  // `failed` is called on an actor thread when a stage has failed for good; graphs() tells which. It must not block.
  // `told` is called on an actor thread with what the coordinator says of switches; it must not block.
  // Errors: bad_input for options that cannot be used. An unreachable farm is no error; it shows in graphs().
  static result<std::unique_ptr<client>> start(
      client_options options, std::function<void(load_task)> load, std::function<void()> failed = [] {},
      std::function<void(switch_notice)> told = [](const switch_notice&) {});
  // Stops within a bounded time; tasks not yet answered may be answered later, to no effect.
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  // Subscribes to a graph's stages; returns its id. Errors: bad_input, too_large.
  result<std::uint64_t> submit(graph_request request);
  // The graph's slot is gone: stop waiting for its stages.
  void release(std::uint64_t graph);
  // Calls went back from the loaded stage (index into graph_request::stages) to what they ran before, and `why`: shown
  // in graphs() and told the farm. No effect when that stage is not the best loaded.
  void roll_back(std::uint64_t graph, std::size_t stage, error why);

  // A rank of a job waits with a loaded stage of that graph, and answers a proposal. To no effect while the graph's
  // farm cannot be reached: a rank says again from time to time that it waits.
  void arm(std::uint64_t graph, switch_report report);
  void vote(std::uint64_t graph, switch_answer answer);

  // Waits until every graph submitted so far has reached the stage of that name (empty: the last of its plan) or failed
  // for good. False when `timeout` passes first, or when a graph failed to reach it. Waits at most `timeout`; call it
  // in slices to react to signals.
  using wait_result = fxfarm::wait_result;
  wait_result wait(const std::string& stage, std::chrono::milliseconds timeout);

  std::vector<graph_status> graphs() const;
  // Counters by name: graphs, lookups, stages_loaded, stages_failed, artifact_bytes, local_farms_started, ...
  std::map<std::string, std::uint64_t> stats() const;
  void reset_stats();
  // Where metrics are served; empty: nowhere, since that was not asked for or, as the log tells, not possible.
  std::string metrics_address() const;

  // In the child of a fork: forget everything without touching threads that are not there.
  void abandon();

private:
  struct impl;
  explicit client(std::unique_ptr<impl> i);
  std::unique_ptr<impl> impl_;
};

}  // namespace fxfarm
