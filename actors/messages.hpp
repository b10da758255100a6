#pragma once
// What actors of one process say to each other. Payloads are shared and immutable, so a message is cheap to pass.

#include "net/link.hpp"
#include "runtime/store.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <caf/allowed_unsafe_message_type.hpp>

namespace fxfarm::actors {

// From a socket thread: everything that one round of draining brought.
struct link_events {
  std::shared_ptr<const net::inbound_batch> batch;
};

// Where the coordinators are, now that their names have been looked up (again).
struct farm_found {
  std::vector<std::string> endpoints;
  std::string problem;  // why names have none
};

// An actor's own clock; it arms the next one only while something is in flight.
struct tick {};

// Take nothing new, finish what runs (or, when it cannot be waited for, drop it), then say so and end.
struct drain {
  bool at_once = false;
};

// --- coordinator -----------------------------------------------------------------------------------------------------

// An operator's question from within the process, from a thread that is no actor: for CAF, one that asks is an actor as
// long as it lives, and the system's end waits for it. See net::ask.
struct operator_question {
  std::string what;
  std::map<std::string, std::string> arguments;
  std::function<void(net::answer)> tell;  // on the coordinator's thread; let go of untold when that has ended
};

// --- store -----------------------------------------------------------------------------------------------------------

struct store_read {
  std::string key;
};
struct store_found {
  std::shared_ptr<const result<std::optional<stored>>> found;
};
// What the tier that coordinators share has answered; between it and the store's actor only.
struct store_shared {
  std::uint64_t question = 0;
  std::string key;
  std::shared_ptr<const std::optional<stored>> found;
};
struct store_write {
  std::string key;
  std::shared_ptr<const stored> what;
};
struct store_written {
  std::shared_ptr<const result<void>> outcome;
};
struct store_remove {
  std::string key;
};

// --- engine and worker -----------------------------------------------------------------------------------------------

struct engine_job {
  std::string id;
  std::string name;
  stage_spec stage;
  platform target;
  blob graph;
  std::chrono::milliseconds deadline{0};
  std::string tenant = {};         // see engine_slot
  unsigned attempts = 1;           // engines that have had it, this one included
  bool kernel = false;             // `graph` is what the compile of one kernel needs to know
  unsigned kernels_elsewhere = 0;  // that it may have asked for at a time, see engine_kernel
};
// End the job with this id, if it still runs.
struct engine_cancel {
  std::string id;
  std::string reason;
};
// A whole frame from the engine process of that generation (each start of a process is one).
struct engine_frame {
  std::uint64_t generation = 0;
  std::shared_ptr<bytes> body;
};
struct engine_exited {
  std::uint64_t generation = 0;
  error why;
  bool killed_by_others = false;  // by a signal that was not ours
  bool well = false;              // it ended by itself, with status 0
};
// A deadline of that generation, for the start (empty id) or for a job.
struct engine_deadline {
  std::uint64_t generation = 0;
  std::string id;
};
// A kernel of the job that the engine in `slot` runs, for some other engine that is idle.
struct engine_kernel {
  std::size_t slot = 0;
  std::string job;     // id
  std::string kernel;  // what the engine calls it
  blob source;
};
// What became of it: a library, or why there is none.
struct engine_kernel_answer {
  std::string job;
  std::string kernel;
  blob library;
  std::optional<error> why;
};
struct engine_restart {};
// The engine has served another tenant, and is to be followed by one for this one. It runs no job.
struct engine_change {
  std::string tenant;
};

// What the engine in `slot` is: known once it said hello, ready once it is warm.
struct engine_state {
  std::size_t slot = 0;
  std::optional<platform> runs_on;
  bool ready = false;
  std::optional<error> problem;            // it is down for this reason and will be started again
  std::optional<std::string> tenant = {};  // see engine_slot
  bool can_help = false;                   // it takes kernels, too
};
struct engine_outcome {
  std::size_t slot = 0;
  std::string id;
  blob artifact;                         // null when it failed
  std::map<std::string, double> phases;  // seconds
  std::optional<error> why;
  std::uint64_t memory_bytes = 0;  // that the job was seen to have at most; 0: not known
};

// --- client and output -----------------------------------------------------------------------------------------------

// From the farm, for the graph that the output actor stands for.
struct farm_message {
  std::shared_ptr<const net::inbound> in;
};
// The link is (again) there, or the graph was moved to another farm: ask for what is missing.
struct resubscribe {
  std::string scope;  // see net::welcome
};
// A farm was busy: ask it again now.
struct retry_lookup {};
// No farm can be reached at the moment.
struct farm_lost {
  error why;
};
// A loader's answer.
struct load_result {
  std::size_t stage = 0;
  std::shared_ptr<const result<void>> outcome;
};
// Calls went back from this stage to the one before it.
struct rolled_back {
  std::size_t stage = 0;
  error why;
};
// The same, for a graph of the client.
struct roll_back_graph {
  std::uint64_t graph = 0;
  rolled_back what;
};
// An output actor's message for the farm that serves its graph.
struct to_farm {
  std::uint64_t graph = 0;
  std::shared_ptr<const net::message> what;
  blob attachment;
};
// The farm cannot serve this graph; the local farm may.
struct fall_back {
  std::uint64_t graph = 0;
  error why;
};
// Nothing will change for this graph any more.
struct graph_settled {
  std::uint64_t graph = 0;
};
struct release_graph {
  std::uint64_t graph = 0;
};

}  // namespace fxfarm::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::link_events)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::farm_found)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::drain)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::operator_question)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::store_read)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::store_found)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::store_shared)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::store_write)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::store_written)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::store_remove)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_job)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_cancel)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_frame)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_exited)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_deadline)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_kernel)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_kernel_answer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_restart)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_change)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_state)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::engine_outcome)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::farm_message)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::resubscribe)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::retry_lookup)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::farm_lost)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::load_result)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::rolled_back)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::roll_back_graph)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::to_farm)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::fall_back)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::graph_settled)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::release_graph)
