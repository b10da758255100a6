#pragma once
// Every message of the wire, declared once. A message is a struct with a tag and one function that names its fields;
// the codec does the rest. On the wire: {"type": tag, "body": {field: value, ...}} and, when bytes follow in a stream,
// "attachment": {"stream": id, "size": bytes, "digest": hex}, or, when they are few, "attachment": {"digest": hex,
// "data": bytes}. Unknown fields are ignored, missing ones keep the defaults that stand here.
//
// docs/reference/wire.md tells the order in which they are exchanged.

#include "runtime/artifact_signature.hpp"
#include "runtime/bytes.hpp"
#include "runtime/platform.hpp"
#include "runtime/stage.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace fxfarm::net {

inline constexpr std::string_view wire_magic = "fxfarm";
inline constexpr unsigned wire_version = 1;

template <class T>
concept has_fields = requires(T& value) {
  T::fields(value, [](std::string_view, auto&) {});
};

// --- link: handled inside net/, actors see only peer_up and peer_down ------------------------------------------------

// First message of a connection, from the one that connected.
struct hello {
  static constexpr std::string_view tag = "hello";
  std::string magic{wire_magic};
  unsigned version = wire_version;
  std::string role;                  // "client", "worker" or "operator"
  std::string id;                    // unique for the life of the process
  std::string host;                  // for people
  std::uint64_t pid = 0;             // for people
  std::string build;                 // fxfarm's version, for people
  std::uint64_t enclosed_bytes = 0;  // how large an attachment may come within a message to this side

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("magic", s.magic);
    f("version", s.version);
    f("role", s.role);
    f("id", s.id);
    f("host", s.host);
    f("pid", s.pid);
    f("build", s.build);
    f("enclosed_bytes", s.enclosed_bytes);
  }
};

// Answer to hello.
struct welcome {
  static constexpr std::string_view tag = "welcome";
  unsigned version = wire_version;
  std::string id;
  std::string build;
  std::uint64_t heartbeat_ms = 0;    // how often each side must be heard
  std::uint64_t enclosed_bytes = 0;  // as in hello
  std::string scope = {};            // the namespace that the client's artifacts are for alone; empty: it shares them

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("version", s.version);
    f("id", s.id);
    f("build", s.build);
    f("heartbeat_ms", s.heartbeat_ms);
    f("enclosed_bytes", s.enclosed_bytes);
    f("scope", s.scope);
  }
};

struct heartbeat {
  static constexpr std::string_view tag = "heartbeat";
  template <class Self, class F>
  static void fields(Self&, F&&) {}
};

// Last message of a connection that ends on purpose.
struct goodbye {
  static constexpr std::string_view tag = "goodbye";
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("reason", s.reason);
  }
};

// The peer's last message, or its handshake, was not accepted.
struct rejected {
  static constexpr std::string_view tag = "rejected";
  std::string code;  // errc by name
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("code", s.code);
    f("reason", s.reason);
  }
};

// A piece of an attachment. Chunks of one stream come in order and without holes.
struct chunk {
  static constexpr std::string_view tag = "chunk";
  std::uint64_t stream = 0;
  std::uint64_t offset = 0;  // bytes
  bytes data;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("stream", s.stream);
    f("offset", s.offset);
    f("data", s.data);
  }
};

// The receiver of a stream has room for so many bytes more.
struct credit {
  static constexpr std::string_view tag = "credit";
  std::uint64_t stream = 0;
  std::uint64_t bytes = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("stream", s.stream);
    f("bytes", s.bytes);
  }
};

// Either side gives the stream up.
struct stream_abort {
  static constexpr std::string_view tag = "stream_abort";
  std::uint64_t stream = 0;
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("stream", s.stream);
    f("reason", s.reason);
  }
};

// --- client <-> coordinator ------------------------------------------------------------------------------------------

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

// --- worker <-> coordinator ------------------------------------------------------------------------------------------

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
  }
};

// Attachment: the serialized graph.
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
  unsigned rank = 0;        // of the stage in its plan
  unsigned attempts = 0;    // with this one
  std::string space;        // of the client that asked first
  std::string scope = {};   // as in welcome, of the clients that asked
  std::string ticket = {};  // whoever has it was given this job; empty where keys are off
  bool measures = false;    // it times kernels: one of the worker's `gpus` is its as long as its lease

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

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("id", s.id);
    f("stage_key", s.stage_key);
    f("phases", s.phases);
    f("signer", s.signature.signer);
    f("signature", s.signature.value);
  }
};

struct job_failed {
  static constexpr std::string_view tag = "job_failed";
  std::string id;
  std::string stage_key;
  std::string code;  // errc by name
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("id", s.id);
    f("stage_key", s.stage_key);
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

// --- operator <-> coordinator ----------------------------------------------------------------------------------------

// A question of the command line. `what` is "status", "stats", "reset-stats", "graphs", "explain", "top", "drain",
// "undrain" or "forget".
struct ask {
  static constexpr std::string_view tag = "ask";
  std::uint64_t request = 0;
  std::string what;
  std::map<std::string, std::string> arguments;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("request", s.request);
    f("what", s.what);
    f("arguments", s.arguments);
  }
};

// Its answer: a JSON document, or an error.
struct answer {
  static constexpr std::string_view tag = "answer";
  std::uint64_t request = 0;
  std::string document;
  std::string code;  // errc by name, "none" when the document is the answer
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("request", s.request);
    f("document", s.document);
    f("code", s.code);
    f("reason", s.reason);
  }
};

using message = std::variant<hello, welcome, heartbeat, goodbye, rejected, chunk, credit, stream_abort,  // link
                             lookup, need_graph, submit, stage_progress, stage_ready, stage_failed, release, switched,
                             stage_armed, switch_proposed, switch_vote, switch_decided, worker_offer, job, job_held,
                             job_alive, job_done, job_failed, cancel_job, set_drain, ask, answer>;

}  // namespace fxfarm::net
