#pragma once
// The table of jobs in flight: at most one per stage key, joined by everyone who asks for it. A plain class: the caller
// passes the time in and carries out what is returned.
//
//   wants_graph ──graph_arrived──► queued ──start──► running ──finish──► storing ──remove──► (gone)
//        │                           ▲                 │
//        └── expire: failed          └── retried ◄─────┴── failed, lease lost, deadline ──► failed
//
// An attempt that a worker refuses with `busy` has not been one: the job is queued again as old as it was.
//
// A worker whose coordinator is gone takes what it runs to the next one, which adopts it: the job is then running
// without that its graph has ever been here.
//
// A failed job leaves the table; its reason is remembered for a while, so that a graph that cannot be compiled, or
// kills every engine, is answered at once and not tried by the next rank.

#include "runtime/error.hpp"
#include "runtime/failure_book.hpp"
#include "runtime/limits.hpp"
#include "runtime/platform.hpp"
#include "runtime/stage.hpp"
#include "runtime/text_map.hpp"
#include "runtime/time_point.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

enum class job_state { wants_graph, queued, running, storing };
std::string_view to_string(job_state s);

struct job_request {
  std::string stage_key;
  std::string graph_key;
  std::string name;
  // One for all jobs of a client that are alike, since there are many of them.
  std::shared_ptr<const stage_spec> stage;
  std::shared_ptr<const platform> target;
  unsigned rank = 0;  // 0: the graph's first stage
  std::string space;
  std::string account = {};  // that the job counts for, see account_book; empty: none
  bool measures = false;     // see measures() in runtime/stage.hpp
};

struct job_record;
using jobs_by_graph = std::multimap<std::string_view, job_record*>;  // by graph key, as it stands in the record

struct job_record {
  job_request request;
  jobs_by_graph::iterator of_graph;  // its entry
  job_state state = job_state::wants_graph;
  std::set<std::string> subscribers;
  unsigned attempts = 0;               // started so far, less those that a full worker refused
  unsigned refusals = 0;               // by full workers
  std::string worker;                  // while running or storing
  std::string attempt;                 // id of the running attempt
  std::vector<std::string> failed_on;  // workers, the last ones; not those that were only full
  time_point created;
  time_point queued_at;
  time_point started_at;
  time_point lease_until;
  time_point graph_until;  // while it wants the graph

  double queue_seconds() const { return std::chrono::duration<double>(started_at - queued_at).count(); }
};

struct job_limits {
  std::chrono::milliseconds lease = limits::job_lease;
  std::chrono::milliseconds deadline = limits::job_deadline;
  unsigned attempts_max = limits::job_attempts_max;
  unsigned refusals_max = limits::job_refusals_max;
  std::size_t jobs_max = limits::jobs_queued_max;
  std::size_t jobs_per_client_max = limits::jobs_queued_per_client_max;
  std::size_t jobs_per_account_max = limits::jobs_per_key;
  std::size_t subscribers_max = limits::subscribers_per_job_max;  // of one job
  std::chrono::milliseconds failure_memory = limits::failure_memory;
  std::size_t failures_max = limits::failures_kept_max;
};

// Whose fault a failed attempt is. A worker's costs its job no attempt, as long as there are not too many.
enum class fault { of_attempt, of_worker };

// What became of a job whose attempt ended without a result.
struct job_setback {
  std::string stage_key;
  std::string worker;   // that had it, empty if none
  std::string attempt;  // that ended, empty if none
  error why;
  bool retried = false;  // queued again; otherwise it failed for good and left the table
  std::string graph_key;
  std::string stage;                     // its name
  std::vector<std::string> subscribers;  // to be told, when it failed for good
};

class job_table {
public:
  // `attempt_prefix` makes attempt ids unique among coordinators and restarts.
  explicit job_table(std::string attempt_prefix, job_limits bounds = {});

  // Asks for a job on behalf of `peer`. Returns true when the job is new (it wants its graph), false when it was
  // joined. Errors: the remembered reason of a failure; `busy` when a bound is reached.
  result<bool> admit(const job_request& request, const std::string& peer, time_point now);

  // The graph is here: returns the jobs that are thereby queued.
  std::vector<std::string> graph_arrived(const std::string& graph_key, time_point now);
  // Gives the jobs that want a graph more time, since another subscriber was asked for it.
  void graph_asked(const std::string& graph_key, time_point now);

  // A queued job starts on `worker`; returns the attempt's id. Its first lease is longer by `transfer`, since a worker
  // knows of the job, and can renew its lease, only when all of the graph has arrived.
  std::string start(const std::string& stage_key, const std::string& worker, time_point now,
                    std::chrono::milliseconds transfer = {});
  // A job that `worker` runs already, as its `attempts`th try. False when another attempt of it runs, when it is being
  // stored, or when a bound is reached. It need not be known; who waited for it goes on waiting.
  bool adopt(const job_request& request, const std::string& worker, const std::string& attempt, unsigned attempts,
             time_point now);
  // A queued job whose graph is not here.
  void want_graph(const std::string& stage_key, time_point now);
  // Renews leases. Returns the ids among `attempts` that `worker` does not hold (any longer).
  std::vector<std::string> renew(const std::string& worker, const std::vector<std::string>& attempts, time_point now);

  // The job of which `worker` holds that attempt, else null.
  const job_record* find_attempt(const std::string& worker, const std::string& attempt) const;
  // Whether some worker holds it.
  bool is_held(const std::string& attempt) const { return by_attempt_.contains(attempt); }
  // The attempt has a result: the job is `storing`. Null when `worker` does not hold that attempt.
  const job_record* finish(const std::string& worker, const std::string& attempt);
  // The result is stored; the job leaves the table.
  std::optional<job_record> remove(const std::string& stage_key);

  // The attempt failed. Nothing when `worker` does not hold it.
  std::optional<job_setback> fail(const std::string& worker, const std::string& attempt, error why, time_point now,
                                  fault whose = fault::of_attempt);
  // A job that is not running fails for good (no worker fits, its graph is bad).
  std::optional<job_setback> fail_queued(const std::string& stage_key, error why, time_point now);
  // All attempts of a worker that is gone.
  std::vector<job_setback> worker_lost(const std::string& worker, const error& why, time_point now);
  // Leases, deadlines and waits for graphs that have passed.
  std::vector<job_setback> expire(time_point now);

  // What unsubscribing leaves behind: a job without subscribers that has not started is dropped.
  struct dropped_job {
    std::string stage_key;
    std::string graph_key;
  };
  std::vector<dropped_job> unsubscribe(const std::string& peer, const std::vector<std::string>& stage_keys);
  std::vector<dropped_job> unsubscribe_all(const std::string& peer);

  // Failures that are answered from memory; it adds to them itself.
  failure_book& failures() { return failures_; }
  const failure_book& failures() const { return failures_; }

  // Whether the account has as many jobs as it may.
  bool has_all_jobs(const std::string& account) const;
  const job_record* find(const std::string& stage_key) const;
  bool wants(const std::string& graph_key) const;                        // some job waits for this graph
  std::vector<std::string> wanting(const std::string& graph_key) const;  // those jobs
  // Whether `peer` waits for one of those jobs, and so may have the graph.
  bool is_source(const std::string& graph_key, const std::string& peer) const;
  // One of those who do and are not among `asked`; empty when there is none.
  std::string next_source(const std::string& graph_key, const std::set<std::string>& asked) const;
  bool uses(const std::string& graph_key) const;  // some job has yet to end with this graph
  const text_map<job_record>& jobs() const { return jobs_; }
  const std::map<job_state, std::size_t>& count_by_state() const { return counts_; }
  std::size_t count(job_state s) const { return counts_.at(s); }
  // Since when jobs are queued, by the name of their stage.
  const std::map<std::string, std::multiset<time_point>>& queued_since() const { return queued_since_; }
  std::size_t peers_waiting() const { return by_peer_.size(); }
  bool empty() const { return jobs_.empty(); }

  // What is wrong with these books, for tests; empty when nothing is. Counts everything anew.
  std::string inconsistency() const;

private:
  job_record& insert(const job_request& request, time_point now);
  void run(job_record& job, const std::string& worker, const std::string& attempt, time_point now,
           std::chrono::milliseconds transfer);
  template <class F>
  bool some_of(const std::string& graph_key, F&& f) const;
  // By stage key, so that what comes of them does not depend on a hash.
  std::vector<job_record*> wanting_jobs(const std::string& graph_key) const;
  job_record* held(const std::string& worker, const std::string& attempt);
  job_setback set_back(job_record& job, error why, time_point now, fault whose = fault::of_attempt);
  job_setback give_up(const std::string& stage_key, error why, time_point now);
  std::optional<dropped_job> leave(const std::string& peer, const std::string& stage_key);
  void erase(const std::string& stage_key);
  void move_to(job_record& job, job_state next);
  // When the job is late if nothing happens; never, for one that waits for others than its clients and worker.
  std::optional<time_point> due(const job_record& job) const;
  // A job is out of what is ordered by time, stage and worker while something of it changes.
  void take_out(job_record& job);
  void put_in(job_record& job);

  std::string attempt_prefix_;
  job_limits bounds_;
  std::uint64_t attempts_made_ = 0;
  std::map<job_state, std::size_t> counts_{
      {job_state::wants_graph, 0}, {job_state::queued, 0}, {job_state::running, 0}, {job_state::storing, 0}};
  text_map<job_record> jobs_;  // by stage key
  jobs_by_graph by_graph_;
  using job_index = std::map<std::string_view, job_record*>;            // by stage key, likewise
  text_map<std::string> by_attempt_;                                    // attempt -> stage key
  text_map<job_index> by_peer_;                                         // those that a peer waits for
  text_map<std::size_t> by_account_;                                    // how many there are
  text_map<job_index> by_worker_;                                       // those that a worker runs
  std::map<std::pair<time_point, std::string_view>, job_record*> due_;  // by when they are late
  std::map<std::string, std::multiset<time_point>> queued_since_;       // by name of the stage
  failure_book failures_;
};

}  // namespace fxfarm
