#pragma once
// What a coordinator decides, as a plain class: events and the time go in, messages and store requests come out through
// a port. The actor around it only carries them.

#include "monitoring/metrics.hpp"
#include "net/link.hpp"
#include "runtime/account_book.hpp"
#include "runtime/compile_book.hpp"
#include "runtime/graph_book.hpp"
#include "runtime/job_table.hpp"
#include "runtime/kernel_table.hpp"
#include "runtime/keys.hpp"
#include "runtime/lease_ticket.hpp"
#include "runtime/scheduler.hpp"
#include "runtime/signature_check.hpp"
#include "runtime/stage_verdict.hpp"
#include "runtime/store.hpp"
#include "runtime/switch_table.hpp"
#include "runtime/text_map.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace fxfarm::actors {

struct coordinator_settings {
  std::string id;
  std::string role = "coordinator";  // or "local"
  std::string version;
  std::uint64_t pid = 0;
  std::string salt;
  job_limits jobs;
  unsigned kernels_per_job = limits::kernels_per_job;  // that others compile at a time; 0: none
  std::size_t graph_bytes_max = limits::graph_bytes_held_max;
  account_limits accounts;
  std::size_t history_graphs = limits::history_graphs;
  std::uint64_t history_bytes = limits::history_bytes;
  std::vector<std::string> endpoints;  // for status
  std::string metrics;                 // for status
  std::string lease_secret;            // workers prove by it what they were given; empty where keys are off
  // What workers bring must pass it; null where keys are off, and whatever they bring is taken.
  std::shared_ptr<const signature_check> signatures;
  // The clock on the wall, for people.
  std::function<double()> unix_seconds = [] {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  };
};

// What the core needs done. Store answers come back through store_read and store_written.
class coordinator_port {
public:
  virtual ~coordinator_port() = default;
  virtual void send(const net::peer_id& to, net::message what, blob attachment) = 0;
  // What the store has where looking takes no time, or null; the rest of it is asked by read_store.
  virtual std::shared_ptr<const stored> find_in_memory(const std::string& stage_key) = 0;
  virtual void read_store(const std::string& stage_key) = 0;
  virtual void write_store(const std::string& stage_key, stored what) = 0;
  virtual void remove_stored(const std::string& stage_key) = 0;
};

// Statistics are kept outside; the core only passes questions about them on.
struct statistics_access {
  std::function<std::map<std::string, double>()> snapshot;  // with "resets" and "last_reset_timestamp_seconds"
  std::function<void()> reset;
};

class coordinator_core {
public:
  coordinator_core(coordinator_settings settings, coordinator_port& port, monitoring::coordinator_probe& probe,
                   statistics_access statistics, time_point now);

  void handle(const net::inbound& in, time_point now);
  void store_read(const std::string& stage_key, result<std::optional<stored>> found, time_point now);
  void store_written(const std::string& stage_key, const result<void>& outcome, time_point now);
  // See net::ask; for peers and for this process' own status page.
  net::answer answer_to(const net::ask& m, time_point now);
  // To be called about every second while `busy`.
  void tick(time_point now);

  // Tells the probe how many there are of what; once per batch of events is enough.
  void publish_gauges() const;

  // Something is in flight that has a deadline.
  bool busy() const { return !jobs_.empty() || !reads_.empty() || !kernels_.empty() || switches_.voting(); }
  // Nobody is connected who might want something, and nothing is in flight.
  bool idle() const { return !busy() && clients_ == 0; }

  // Null when no such job is in flight.
  const job_record* find_job(const std::string& stage_key) const { return jobs_.find(stage_key); }

  // What is wrong with the books, or does not agree between them, for tests; empty when nothing is. Linear in all.
  std::string inconsistency() const;
  // No new jobs are started; what runs is finished. Queued and new lookups are answered `shutdown`.
  void drain(time_point now);

private:
  // A worker that has been told that it is kept.
  struct told_keep {
    std::uint64_t number = 0;
    std::optional<time_point> heeded_since;  // none: others that asked before are
  };
  // A worker that gets no jobs, since nobody would take what it makes of them.
  struct passed_over {
    artifact_signature by;            // of what it brought last
    scheduler::worker_offer offered;  // what it would get jobs for
    error why;
  };
  struct peer {
    net::hello who;
    std::string key = {};                         // see net::peer_up; empty where keys are off
    key_right right = {};                         // likewise
    std::set<std::string> reading = {};           // stage keys that it waits for while the store is at them
    std::set<std::string> graphs_asked = {};      // graphs that it was asked for
    std::shared_ptr<const platform> target = {};  // of its last lookup
    std::vector<std::shared_ptr<const stage_spec>> plan = {};  // likewise, as far as it came to jobs
    std::string account = {};                                  // of a client
    std::optional<time_point> starting_since = {};  // of a worker whose engines have yet to say what they are
    std::optional<passed_over> passed = {};         // of a worker whose signer is not accepted
  };
  // A lookup that waits for the store; several for one stage key share one read.
  struct waiting_lookup {
    job_request request;
    bool refused = false;  // what the store has is of no use to this client
  };
  // Who was asked for a graph. Whoever stays silent is followed by another subscriber.
  struct graph_question {
    std::set<net::peer_id> asked;
    net::peer_id last;
    time_point until;
  };
  struct held_graph {
    blob data;
    std::string account;  // that it counts for
  };
  struct waiting_result {
    stored artifact;
    double queue_seconds = 0;
  };

  // Messages of a peer whose namespace shares nothing, and to it: see scoped_key.
  void handle_scoped(const net::inbound& in, const std::string& scope, net::message what, time_point now);
  void refuse_message(const net::peer_id& from, const std::string& role, const net::message& what);
  void send(const net::peer_id& to, net::message what, blob attachment);
  std::string ticket_for(const net::peer_id& worker, const net::job& job) const;
  // `what`: the message of `in`, whose graph may have got a key of its own.
  void handle_message(const net::inbound& in, const net::message& what, time_point now);
  void peer_left(const net::peer_id& id, const error& why, time_point now);

  void on(const net::peer_id& from, const net::lookup& m, time_point now);
  void on(const net::peer_id& from, const net::submit& m, const blob& graph, time_point now);
  void on(const net::peer_id& from, const net::release& m, time_point now);
  void on(const net::peer_id& from, const net::switched& m);
  void on(const net::peer_id& from, const net::stage_armed& m, time_point now);
  void on(const net::peer_id& from, const net::switch_vote& m, time_point now);
  void on(const net::peer_id& from, const net::worker_offer& m, time_point now);
  void on(const net::peer_id& from, const net::job_held& m, time_point now);
  void on(const net::peer_id& from, const net::job_alive& m, time_point now);
  void on(const net::inbound& in, const net::job_done& m, time_point now);
  void on(const net::peer_id& from, const net::job_failed& m, time_point now);
  void on(const net::peer_id& from, const net::kernel_wanted& m, const blob& source, time_point now);
  void on(const net::peer_id& from, const net::ask& m, time_point now);

  // Why a kernel that the worker asks for is lent to nobody, if it is not; else it is with a helper.
  std::optional<error> lend(const net::peer_id& from, const net::kernel_wanted& m, const blob& source, time_point now);
  // Whether the result was one of a kernel.
  bool take_kernel(const net::inbound& in, const net::job_done& m);
  bool take_kernel(const net::peer_id& from, const net::job_failed& m);
  // It is told to whoever waits for it, if anybody does still.
  void fail_kernel(const kernel_table::lent& kernel, const error& why);
  void expire_kernels(time_point now);
  // Of what the worker says that it runs, kernels need no lease.
  std::vector<std::string> without_kernels(const net::peer_id& from, const std::vector<std::string>& ids) const;

  // For people: what a peer calls itself, or its id when it is gone.
  const std::string& name_of(const net::peer_id& id) const;
  void note_switch(const net::peer_id& from, const net::switched& m, time_point now);
  void note_setback(const job_setback& setback, time_point now);

  // Why the result of the job that the worker holds is not taken, if it is not.
  std::optional<signature_check::refusal> distrust(const net::inbound& in, const net::job_done& m);
  std::optional<signature_check::refusal> distrust(const net::inbound& in, const std::string& stage_key,
                                                   const artifact_signature& by);
  // Gives the worker nothing more until its signer is accepted.
  void pass_over(const net::peer_id& worker, const artifact_signature& by, const error& why);
  void pass_over_no_longer();
  void attempt_failed(const net::peer_id& from, const std::string& attempt, const error& why, fault whose,
                      time_point now);
  void tell_switches();
  void ask_for_stage(const net::peer_id& from, job_request request, bool refused, time_point now);
  // Whether memory has the stage, and no job or failure comes first.
  bool serve_from_memory(const net::peer_id& to, const net::lookup& m, const stage_spec& stage,
                         const std::string& stage_key, time_point now);
  void admit(const net::peer_id& from, const job_request& request, time_point now);
  // Asks a subscriber that has not been asked yet, if there is one.
  void ask_for_graph(const std::string& graph_key, time_point now);
  void ask_again(time_point now);
  void forget_question(const std::string& graph_key);
  // That subscriber will not send the graph.
  void expect_no_graph(const net::peer_id& from, const std::string& graph_key, time_point now);
  // Whether what it names is within its namespace and its bounds; if not it is counted.
  bool is_proper(const peer& sender, const net::lookup& m);
  // The answer to a question of a peer whose key has sent as many messages as it may.
  void say_busy(const net::peer_id& from, const net::message& what, time_point now);
  // A quota that the client's key has used up; it is to come again.
  void turn_away(const net::peer_id& from, const net::lookup& m, const error& why, time_point now);
  void forget_dropped(const std::vector<job_table::dropped_job>& dropped, time_point now);
  void forget_read(const net::peer_id& from, const std::string& stage_key);
  void give_up_starting(time_point now);
  void fail_unplaceable(time_point now);
  void tell_waiting(time_point now) const;
  void queue_jobs(const std::vector<std::string>& stage_keys, time_point now);
  void enqueue(const job_record& job);
  void queue_again(const job_record& job, time_point now);
  void tell_running(const job_record& job, life_step how, time_point now);
  void start_jobs(time_point now);
  void tell_kept();
  // The worker says which keep of this coordinator's it heeds now.
  void note_heeded(const net::peer_id& worker, std::uint64_t number, time_point now);
  void keep_no_longer(time_point now);
  void settle(const std::vector<job_setback>& setbacks, time_point now);
  void forget_graph_unless_used(const std::string& graph_key);
  void tell_failure(const net::peer_id& to, const std::string& graph_key, const std::string& stage_key,
                    const error& why);
  std::uint64_t busy_retry_ms(const net::peer_id& to) const;
  void note_stored(stage_entry& entry, const stored& artifact, time_point now);

  nlohmann::json job_json(const std::string& stage_key) const;  // which graph and stage it is for; null: there is none
  nlohmann::json workers_json(bool& truncated) const;           // as many as fit into an answer
  nlohmann::json jobs_json() const;                             // how many there are by state
  std::string status_document(time_point now) const;
  // See runtime/graph_query.hpp for the arguments.
  result<std::string> graphs_document(const std::map<std::string, std::string>& arguments) const;
  std::string statistics_document() const;
  // The life of the graph that the argument `graph` names, or of one whose key, or a stage's, begins so. Errors:
  // not_found; bad_input when it is not clear which.
  result<std::string> explain_document(const std::map<std::string, std::string>& arguments, time_point now) const;
  result<const graph_entry*> find_graph(const std::string& wanted) const;
  std::string top_document(time_point now) const;
  // The argument `worker` is a worker's name or how only one's begins. Errors: not_found, bad_input.
  result<std::string> drain_worker(const std::map<std::string, std::string>& arguments, bool draining);
  result<net::peer_id> find_worker(const std::string& wanted) const;
  stage_facts facts_of(const stage_entry& stage, time_point now) const;
  // Artifacts and failures of all stages whose key, or graph's key, begins with the argument `key`.
  result<std::string> forget(const std::map<std::string, std::string>& arguments, time_point now);

  coordinator_settings settings_;
  coordinator_port& port_;
  monitoring::coordinator_probe& probe_;
  statistics_access statistics_;
  time_point started_;
  time_point ticked_;  // last

  text_map<peer> peers_;
  std::size_t clients_ = 0;
  std::size_t isolated_ = 0;  // peers whose namespace shares nothing
  bool draining_ = false;
  std::optional<lease_seal> leases_;  // none where keys are off
  stage_key_memo stage_keys_;
  job_table jobs_;
  kernel_table kernels_;
  scheduler scheduler_;
  switch_table switches_;
  graph_book book_;
  compile_book compiles_;
  text_map<std::map<net::peer_id, waiting_lookup>> reads_;  // by stage key
  std::size_t reading_ = 0;                                 // lookups in reads_
  text_map<waiting_result> writes_;                         // by stage key
  text_map<time_point> unplaceable_since_;                  // by stage key
  text_map<held_graph> graphs_;                             // by graph key, while a job uses it
  std::size_t graph_bytes_ = 0;
  account_book accounts_;
  text_map<graph_question> graph_asked_;                       // by graph key, while a job wants it
  std::set<std::pair<time_point, std::string>> ask_again_at_;  // graph keys by the end of their question
  std::map<net::peer_id, told_keep> kept_;                     // workers that have been told so
  std::set<net::peer_id> starting_;                            // workers with a starting_since
  std::set<net::peer_id> passed_over_;                         // workers whose signers are not accepted
};

}  // namespace fxfarm::actors
