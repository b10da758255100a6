#pragma once
// The worker: offers its slots to every coordinator, runs jobs in engines, keeps their leases alive, sends results
// back. A job outlives its coordinator: it is brought to the one that its graph belongs to now.

#include "actors/engine.hpp"
#include "runtime/artifact_signature.hpp"
#include "runtime/signature_check.hpp"

#include <deque>
#include <functional>
#include <map>
#include <set>

#include <caf/stateful_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

namespace fxfarm::actors {

using worker_actor = caf::typed_actor<caf::reacts_to<link_events>, caf::reacts_to<farm_found>,
                                      caf::reacts_to<engine_state>, caf::reacts_to<engine_outcome>,
                                      caf::reacts_to<engine_kernel>, caf::reacts_to<tick>, caf::reacts_to<drain>>;

struct worker_options {
  std::string name;
  std::shared_ptr<net::connector> link;
  unsigned slots = 1;
  engine_settings engine;
  std::uint64_t memory_bytes = 0;  // that the engines may use together; 0: it is not counted
  bool engines_shared = false;     // by namespaces that share nothing else
  std::string sandbox;             // what engines are in, for people
  std::chrono::milliseconds lease_renewal = limits::job_lease / 3;
  // Makes the engine of a slot, in place of one that runs `engine`.
  std::function<engine_actor(std::size_t slot, engine_owner owner)> spawn_engine;
  std::optional<artifact_signer> signer;  // of all that is made here; none: it goes unsigned
  // Of kernels from elsewhere, which become part of what is signed here. Null: with a signer, none are asked for.
  std::shared_ptr<const signature_check> kernel_signers;
  monitoring::worker_probe* probe = nullptr;  // outlives the actor
  std::function<void()> on_end;               // called once, on an actor thread, when it has drained
};

class worker_slots {
public:
  using pointer = worker_actor::stateful_pointer<worker_slots>;
  static inline const char* name = "worker";

  worker_slots() = default;
  void start(pointer self, worker_options options);
  void handle(const link_events& events);
  void find_coordinators(const farm_found& m);
  void take_state(const engine_state& m);
  void take_outcome(engine_outcome& m);
  void ask_for_kernel(const engine_kernel& m);
  void renew_leases();
  void begin_drain(bool at_once);

private:
  struct accepted_job {
    net::peer_id coordinator;  // empty: it is gone, and there is no other yet
    net::job what;
    blob graph;
  };
  struct slot {
    engine_actor engine;
    bool ready = false;
    std::optional<platform> runs_on;
    std::optional<error> problem;
    std::optional<accepted_job> job;
    std::optional<std::string> tenant = {};  // that it has served, or was started for; see engine_slot
    bool changing = false;                   // it is being started for `tenant`
    bool can_help = false;                   // it takes kernels, too
    // That its job has asked for: what their libraries must be signed as, by name.
    std::map<std::string, std::string> kernels = {};
    unsigned kernels_asked = 0;  // in all
  };

  // A result on its way: its lease is renewed until the coordinator says that it knows of none, which is when it has
  // the result, or until it cannot be on its way any more.
  struct sent_result {
    net::peer_id coordinator;
    std::string id;
    std::chrono::steady_clock::time_point until;
  };

  struct keep_place {
    net::peer_id by;
    std::uint64_t number = 0;
    bool operator==(const keep_place&) const = default;
  };

  void take_job(const net::peer_id& from, const net::job& m, const blob& graph);
  // Why it is not to be had here, if it is not.
  std::optional<error> refusal_of(const accepted_job& job);
  void cancel_job(const net::peer_id& from, const net::cancel_job& m);
  void set_drain(const net::peer_id& from, const net::set_drain& m);
  void keep(const net::peer_id& from, const net::keep_worker& m);
  // What that coordinator keeps it for by that number, or all (0).
  void let_go(const net::peer_id& coordinator, std::uint64_t number, const char* why);
  void bring_kernel(const net::inbound& in, const net::kernel_made& m);
  void bring_no_kernel(const net::peer_id& from, const net::kernel_unmade& m);
  // The slot that runs that coordinator's job; null: it has ended.
  slot* slot_of(const net::peer_id& coordinator, const std::string& job);
  unsigned kernels_elsewhere(const net::job& job) const;
  // Its job's kernels will come from nowhere any more.
  void expect_no_kernels(slot& s);
  bool kept_from(const net::peer_id& coordinator) const;
  void start_waiting();
  std::string tenant_of(const accepted_job& job) const;
  slot* engine_for(const std::string& tenant);
  // Engines of other tenants make way for jobs that no engine can take as it is.
  void change_engines();
  // A result that no coordinator could be told of yet.
  struct unclaimed_result {
    accepted_job job;
    engine_outcome outcome;
  };

  void lose(const net::peer_id& coordinator);
  // Brings jobs that have no coordinator to the one that clients ask for their graphs.
  void hand_over_orphans();
  bool hand_over(accepted_job& job);
  void deliver(const accepted_job& job, engine_outcome outcome);
  template <class F>
  void for_each_job(F&& f);
  // When no engine will take them: elsewhere they may do better.
  void refuse_waiting();
  static bool out_of_order(const slot& s);
  void offer(const net::peer_id& to);
  void offer_changes();
  net::worker_offer make_offer(const net::peer_id& to) const;
  void track_result(const accepted_job& job, std::size_t bytes);
  void fail(const accepted_job& job, const error& why, std::uint64_t memory_bytes = 0);
  static std::uint64_t memory_of(const accepted_job& job);
  bool has_jobs() const;
  void settle();
  void end();
  void publish_gauges() const;

  worker_actor::pointer self_ = nullptr;
  worker_options options_;
  std::vector<slot> slots_;
  std::set<std::string> named_;                       // coordinators that it is to work for
  std::map<net::peer_id, std::string> coordinators_;  // that are up -> what it knows, to be told only of changes
  // Jobs that came while every engine was busy or restarting: several coordinators may each count on the same slots.
  std::deque<accepted_job> waiting_;
  // Coordinators that keep it for a job of theirs: the first is heeded, until then. Each has no more places than there
  // are slots: its next one is for another job, since the first has started.
  std::deque<keep_place> kept_by_;
  std::chrono::steady_clock::time_point kept_until_;
  std::deque<sent_result> sent_;            // oldest first
  std::deque<unclaimed_result> unclaimed_;  // oldest first
  bool tick_armed_ = false;
  bool draining_ = false;   // it ends when its jobs have
  bool held_back_ = false;  // an operator wants it to take no jobs
  bool ended_ = false;
};

worker_actor::behavior_type worker_behavior(worker_slots::pointer self, worker_options options);

}  // namespace fxfarm::actors
