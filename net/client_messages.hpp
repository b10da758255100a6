#pragma once
// What clients and coordinators say to each other: about the stages of a graph, and about when the ranks of a job
// switch to one. How a message is declared is said in net/messages.hpp.

#include "runtime/artifact_signature.hpp"
#include "runtime/platform.hpp"
#include "runtime/stage.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm::net {

// Asks for the stages of a graph and subscribes to them. Idempotent: sending it again re-attaches.
struct lookup {
  static constexpr std::string_view tag = "lookup";
  std::string graph_key;
  std::string name;   // for people, such as "GPT2Model.forward/0"
  stage_list stages;  // worst to best
  platform target;
  std::string space;                 // namespace of the client, for fairness and access
  std::uint64_t graph_bytes = 0;     // what NeedGraph would bring
  std::vector<std::string> refused;  // stage keys whose stored artifact this client found corrupt: compile them again
  std::map<std::string, std::string> parts;  // what the graph key covers, for people: digests by name

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("graph_key", s.graph_key);
    f("name", s.name);
    f("stages", s.stages);
    f("target", s.target);
    f("space", s.space);
    f("graph_bytes", s.graph_bytes);
    f("refused", s.refused);
    f("parts", s.parts);
  }
};

// The coordinator does not have the graph; whoever gets this sends Submit.
struct need_graph {
  static constexpr std::string_view tag = "need_graph";
  std::string graph_key;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("graph_key", s.graph_key);
  }
};

// Attachment: the serialized graph.
struct submit {
  static constexpr std::string_view tag = "submit";
  std::string graph_key;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("graph_key", s.graph_key);
  }
};

// A stage's job has moved on: for people who watch. `state` is "queued" or "running".
struct stage_progress {
  static constexpr std::string_view tag = "stage_progress";
  std::string graph_key;
  std::string stage_key;
  std::string state;
  std::string worker;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("graph_key", s.graph_key);
    f("stage_key", s.stage_key);
    f("state", s.state);
    f("worker", s.worker);
  }
};

// Attachment: the artifact.
struct stage_ready {
  static constexpr std::string_view tag = "stage_ready";
  std::string graph_key;
  std::string stage_key;
  std::string source;                    // "memory", "disk" or the worker that made it
  double queue_seconds = 0;              // how long the job waited for a worker; 0 from a store
  std::map<std::string, double> phases;  // compile phase -> seconds; from the job that made it
  artifact_signature signature = {};     // by the worker that made it

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("graph_key", s.graph_key);
    f("stage_key", s.stage_key);
    f("source", s.source);
    f("queue_seconds", s.queue_seconds);
    f("phases", s.phases);
    f("signer", s.signature.signer);
    f("signature", s.signature.value);
  }
};

struct stage_failed {
  static constexpr std::string_view tag = "stage_failed";
  std::string graph_key;
  std::string stage_key;
  std::string code;  // errc by name
  std::string reason;
  std::uint64_t retry_ms = 0;  // not 0: ask again after so long (busy)

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("graph_key", s.graph_key);
    f("stage_key", s.stage_key);
    f("code", s.code);
    f("reason", s.reason);
    f("retry_ms", s.retry_ms);
  }
};

// The client no longer waits for these stages (superseded, or the graph is gone).
struct release {
  static constexpr std::string_view tag = "release";
  std::vector<std::string> stage_keys;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("stage_keys", s.stage_keys);
  }
};

// What became of a stage in the client: its timings feed the farm's metrics.
struct switched {
  static constexpr std::string_view tag = "switched";
  std::string graph_key;
  std::string stage_key;
  std::string stage;  // name
  double request_to_switch_seconds = 0;
  double load_seconds = 0;
  std::string error;           // empty: it was switched in
  double prepare_seconds = 0;  // of request_to_switch_seconds, before the lookup
  double farm_seconds = 0;     // likewise, from the lookup to the artifact's arrival

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("graph_key", s.graph_key);
    f("stage_key", s.stage_key);
    f("stage", s.stage);
    f("request_to_switch_seconds", s.request_to_switch_seconds);
    f("load_seconds", s.load_seconds);
    f("error", s.error);
    f("prepare_seconds", s.prepare_seconds);
    f("farm_seconds", s.farm_seconds);
  }
};

// A rank of a job has loaded a stage of a graph with collectives and waits for the others. Sent again while it waits.
struct stage_armed {
  static constexpr std::string_view tag = "stage_armed";
  std::string graph_key;
  std::string job;     // for people
  std::string group;   // a digest: the job, the graph, and which of equal graphs it is
  unsigned rank = 0;   // in the group
  unsigned world = 0;  // ranks of the group
  std::string stage_key;
  unsigned stage = 0;       // its place in the plan, from 0
  std::uint64_t calls = 0;  // of the graph, so far
  double calls_per_second = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("graph_key", s.graph_key);
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

// All ranks of the group wait: are they to run the stage from that call on?
struct switch_proposed {
  static constexpr std::string_view tag = "switch_proposed";
  std::string graph_key;
  std::string group;
  std::string stage_key;
  std::string round;       // unique for each proposal
  std::uint64_t call = 0;  // counted from 0

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("graph_key", s.graph_key);
    f("group", s.group);
    f("stage_key", s.stage_key);
    f("round", s.round);
    f("call", s.call);
  }
};

struct switch_vote {
  static constexpr std::string_view tag = "switch_vote";
  std::string group;
  std::string round;
  bool yes = false;         // that call has not begun, and will wait for the verdict
  std::uint64_t calls = 0;  // as in stage_armed
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

// The end of a round, or of a stage that others have overtaken: `verdict` is "commit", "abort" or "pass".
struct switch_decided {
  static constexpr std::string_view tag = "switch_decided";
  std::string graph_key;
  std::string group;
  std::string stage_key;
  std::string round;  // empty: it is about the stage
  std::string verdict;
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("graph_key", s.graph_key);
    f("group", s.group);
    f("stage_key", s.stage_key);
    f("round", s.round);
    f("verdict", s.verdict);
    f("reason", s.reason);
  }
};

}  // namespace fxfarm::net
