#pragma once
// Decides which queued job goes to which worker. A plain class: no clock, no socket; the caller tells since when a job
// waits.
//
// Jobs are ordered by stage rank (a first stage before anyone's second), then by how many jobs of their space run (the
// space with the fewest first), then by age; among jobs of one space that are about as old, what takes longest comes
// first. The oldest job that some worker could take is overtaken by at most `limits::job_overtakes_max` others of this
// scheduler in a row. That is no bound on those of other schedulers that take slots of the same worker, nor for a job
// whose worker was kept for as long as may be (keep_no_longer): that one begins to wait anew. A job goes to a worker
// that few other jobs could use, and among equals to the one with the most free slots.
//
// A job takes a slot of its worker, and one that measures a GPU beside it, until it ends: jobs that measure at the same
// time would time each other. Those that wait for a GPU hold up nobody else, and their turn comes as any job's.
//
// A job takes memory of its worker likewise, in steps (memory_steps.hpp): it starts where as much is free. One that
// wants more than any worker has starts on one that has most, while nothing else has any of it. Where the memory that
// the oldest such job waits for has gone to younger ones `limits::job_overtakes_max` times in a row, the next worker
// that could have had it is kept for it, and starts nothing else until what runs there has left enough. Starts of
// other coordinators' jobs count, too, and a worker that can be kept is told so, and offers them nothing meanwhile.
//
// A job that has failed on a worker can be kept away from it, for as long as another one could take it.
//
// A decision costs no more with many jobs and workers: jobs with equal needs are one class, workers on equal
// platforms one pool, and only a pool's arrival or end compares platforms.

#include "runtime/limits.hpp"
#include "runtime/memory_steps.hpp"
#include "runtime/platform.hpp"
#include "runtime/text_map.hpp"
#include "runtime/time_point.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace fxfarm {

// What a worker is to people and metrics.
enum class worker_state { starting, idle, busy, draining, unavailable };
inline constexpr std::size_t worker_states = 5;
std::string_view to_string(worker_state s);

class scheduler {
public:
  // Schedulers with different salts prefer different ones among equal workers, so that coordinators that share workers
  // do not all begin with the same. Without one, those that came first are preferred.
  explicit scheduler(std::string salt = {}) : salt_(std::move(salt)) {}

  struct worker_offer {
    platform runs_on;
    unsigned slots = 0;
    unsigned taken = 0;  // of these, by jobs that this scheduler has not assigned
    bool draining = false;
    std::string problem;                    // why there are no slots, when that is a fault
    std::string sandbox = {};               // what its engines are in, for people
    std::uint64_t engine_memory_bytes = 0;  // that each engine may use; 0: no limit
    unsigned gpus = 0;
    unsigned gpus_taken = 0;         // of these, as `taken`
    std::uint64_t memory_bytes = 0;  // that its engines may use together; 0: it is not counted
    std::uint64_t memory_taken = 0;  // of these, as `taken`
    bool can_be_kept = false;        // it can be told to give nothing to other schedulers, see kept_changes
    bool can_help = false;           // it takes work that helps another's job, see lend

    // Connected, but its engines have not said yet what they are.
    bool starting() const { return runs_on.torch.empty() && problem.empty() && !draining; }
    bool takes_jobs() const { return slots > 0 && !draining; }
  };
  struct request {
    std::string job;  // unique
    platform target;
    unsigned rank = 0;               // 0: a graph's first stage
    std::string space = {};          // whose job it is
    double seconds_expected = 0;     // that it will take, as far as that is known
    time_point queued_at = {};       // since when it waits
    std::uint64_t memory_above = 0;  // bytes of a limit that it has passed; only a worker that allows more can take it
    bool measures = false;           // it takes a GPU, too
    std::uint64_t memory_bytes = 0;  // that it takes, too, see memory_steps.hpp; 0: it is not counted
    std::vector<std::string> avoids = {};  // workers, see avoid_no_longer
  };
  struct assignment {
    std::string job;
    std::string worker;
    std::uint64_t memory_bytes = 0;  // that it takes
    std::uint64_t ends_keep = 0;     // the number of a kept_change whose end the worker learns by this; 0: of none
  };
  struct worker_view {
    std::string id;
    worker_offer offer;
    std::size_t busy = 0;
    std::size_t measuring = 0;      // of these, jobs that have a GPU
    std::uint64_t memory_used = 0;  // by these
    std::uint64_t memory_free = 0;  // of what it offers
    std::string kept_for = {};      // a job that waits for its memory, the oldest of those; empty: it is not kept
  };

  // A new worker, or a change of what it offers; jobs that it runs stay counted.
  void set_worker(const std::string& id, worker_offer offer);
  // Its slots are gone, and so are the jobs that it ran; the caller deals with those.
  void remove_worker(const std::string& id);
  // The worker says that it is full, whatever it offered: it gets nothing until it ends a job, offers anew, or is
  // `trust_again`.
  void mark_full(const std::string& id);
  void trust_again();

  // Success when some worker that takes jobs could compile for `target`, busy or not, or one is still starting.
  // Otherwise `no_worker` with what was missing.
  result<void> check_fit(const platform& target, std::uint64_t memory_above = 0, bool measures = false) const;

  void enqueue(request r);
  // False when it was not queued.
  bool cancel(const std::string& job);
  // Everything that can start now; each assignment occupies a slot, and a GPU if it measures, until `release`.
  std::vector<assignment> assign();
  // A slot of `worker` has the job, which was not assigned here but may be queued.
  void occupy(const std::string& job, const std::string& worker, const std::string& space, bool measures = false,
              std::uint64_t memory_bytes = 0);
  // A slot that nobody waits for, for something that helps a job: its worker, which can compile for `target` and which
  // few others could use, and none of `without`. `name` occupies it from now on, as a job would. Empty when there is
  // none: what waits comes first, so to be asked after `assign`, and no worker lends that could take a job which waits,
  // be it for memory.
  std::string lend(const std::string& name, const platform& target, const std::string& space,
                   std::uint64_t memory_bytes, const std::set<std::string>& without = {});
  // The job has ended, or its worker has lost it. Nothing when it does not run.
  void release(const std::string& job);

  struct kept_change {
    std::string worker;
    bool kept = false;
    std::uint64_t number = 0;  // each time that it is kept has another
    bool with_job = false;     // it is no longer: an assignment there says so, by `ends_keep`
  };
  // Which workers that can be kept are, or are no longer, where that has changed since it was last asked. One that is
  // kept for another class of jobs now is both, the end first: that class asks for itself.
  std::vector<kept_change> kept_changes();
  // It has been kept for too long: whoever waits for its memory waits for another occasion.
  void keep_no_longer(const std::string& worker);

  // Jobs that wait since then or longer may go to workers that they avoid: others have had their time.
  void avoid_no_longer(time_point since);

  // Queued jobs that no worker could take even if it were idle, with the reason.
  std::vector<std::pair<std::string, error>> unplaceable() const;

  std::size_t queued() const { return jobs_.size() - running_; }
  std::size_t running() const { return running_; }
  bool is_queued(const std::string& job) const { return waiting(job) != nullptr; }
  // The worker that runs the job; null when none does.
  const std::string* worker_of(const std::string& job) const;
  std::uint64_t slots() const { return slots_; }  // of all workers that take jobs
  std::uint64_t free_slots() const { return free_slots_; }
  std::size_t count(worker_state s) const { return states_[static_cast<std::size_t>(s)]; }
  const worker_offer* offer_of(const std::string& worker) const;
  std::vector<worker_view> workers() const;
  std::size_t busy_of(const std::string& worker) const;  // jobs that it runs

  // How many queued jobs that a worker of its could take come before it by rank and age; fairness between spaces may
  // have it otherwise.
  std::size_t ahead_of(const std::string& job) const;
  // How many such jobs the workers that take jobs could run at a time if they were idle.
  std::uint64_t slots_for(const platform& target, std::uint64_t memory_above = 0, bool measures = false) const;
  // What a queued job waits for that is not a slot.
  struct shortage {
    std::uint64_t memory_bytes = 0;   // that it takes, which no worker with a slot for it has free; 0: that is not it
    std::string kept;                 // a worker that is kept for it; empty: none
    std::vector<std::string> avoids;  // workers with a slot that it leaves to others while they may take it
  };
  shortage shortage_of(const std::string& job) const;

  // What is wrong with these books, for tests; empty when nothing is. Counts everything anew.
  std::string inconsistency() const;

private:
  struct job_class;
  struct pool;
  struct worker;
  // Twice the step of the memory that is free, and one more where none is taken.
  using rung = unsigned;

  using age = std::pair<time_point, std::uint64_t>;  // since when, and its number of arrival
  struct known_job;
  // A job's place among those of its space and rank: about as old ones together, in there the longest first.
  struct place {
    std::int64_t window = 0;
    double seconds_expected = 0;
    age since;
    bool operator<(const place& other) const;
  };
  using line_order = std::map<place, known_job*>;
  using age_order = std::map<age, known_job*>;
  struct tenant;
  struct lane;
  // What decides whose turn it is in a lane: how many jobs the space runs, and the age of its first job there.
  using turn = std::pair<std::size_t, age>;
  // The jobs of one space in one class and rank; never empty.
  struct line {
    tenant* whose = nullptr;
    job_class* of = nullptr;
    lane* in = nullptr;
    age first;  // of its first job
    turn at;    // its key in the lane's order, in no part more than its turn unless it has moved
    bool moved = false;
    std::size_t index = 0;  // in the lines of its space
    line_order jobs;
  };
  // The jobs of one class and rank.
  struct lane {
    unsigned rank = 0;
    std::map<const tenant*, line> lines;
    std::map<turn, line*> order;
    std::vector<line*> moved;  // put in order when somebody looks, as are those that come first too soon
  };
  // A space, while it has jobs.
  struct tenant {
    std::string name;
    std::size_t running = 0;
    std::size_t placed_at = 0;  // none of its lines has its place at more running jobs, unless it has moved
    // Its lines, and at how many running jobs each has its place.
    std::vector<std::pair<line*, std::size_t>> lines;
  };
  // Queued jobs for targets that every worker can either serve all of, or none.
  struct job_class {
    // What decisions look at comes first, so that it lies together.
    bool ready = false;  // it is in ready_
    bool measures = false;
    unsigned memory_step = 0;
    // The size of worker that it takes: its own need, or the largest that there is; and from which rung on it starts.
    unsigned size = 0;
    rung from = 0;
    // How often in a row others went before its oldest job, or had memory that it waits for.
    unsigned overtaken = 0;
    age oldest;                      // of its jobs
    worker* keeps = nullptr;         // a worker that is kept for it
    std::vector<worker*> avoids;     // those that are connected
    std::vector<pool*> pools;        // that can compile for it, in order of preference
    std::map<unsigned, lane> lanes;  // by rank
    age_order by_age;
    std::string name;
    platform target;
    std::uint64_t memory_above = 0;
  };
  // A worker in an order, with what decides its place, so that looking for it reads no other workers.
  struct seat {
    std::size_t free = 0;
    std::pair<std::size_t, std::uint64_t> number;
    worker* of = nullptr;
    bool operator<(const seat& other) const;  // the most free slots first
  };
  static seat seat_of(const worker& w);
  using seats = std::set<seat>;
  struct worker {
    const std::string* id = nullptr;               // its key in workers_
    std::pair<std::size_t, std::uint64_t> number;  // a hash if there is a salt, and the order of arrival
    worker_offer offer;
    std::vector<known_job*> jobs;   // that it runs
    std::size_t measuring = 0;      // of these
    std::uint64_t memory_used = 0;  // by these
    bool full = false;              // it has said so
    pool* in = nullptr;             // null: it takes no jobs
    job_class* kept_for = nullptr;  // nothing else starts on it
    std::uint64_t keep_number = 0;  // of the last time that it was kept
    std::uint64_t kept_told = 0;    // the number that kept_changes has said, while it has not said its end
    bool end_told = false;          // by an assignment
    std::uint64_t kept_as() const { return kept_for && offer.can_be_kept ? keep_number : 0; }
    std::size_t free() const;
    bool free_to_measure() const;  // a slot and a GPU
    std::uint64_t memory_free() const;
    unsigned size() const;  // the step of its memory, be it free or not; the last one where it is not counted
    rung at() const;
  };
  // Workers by how much of their memory is free, and on each rung those with the most free slots first.
  class ladder {
  public:
    void insert(worker* w);
    void erase(worker* w);
    bool contains(const worker& w) const;
    bool is_consistent() const;  // for tests
    bool reaches(rung from) const { return (taken_ >> from) != 0; }
    // The worker with the most free slots at or above that rung, of those with as many one on the lowest; not one of
    // `without`. Null when there is none.
    worker* best(rung from, const std::vector<worker*>& without) const;

  private:
    std::uint64_t taken_ = 0;  // rungs on which there are some
    std::array<seats, std::size_t{2} * memory_steps> rungs_;
  };
  // Workers that take jobs, on platforms that can compile for the same classes; never empty.
  struct pool {
    std::string name;
    platform runs_on;
    std::uint64_t engine_memory_bytes = 0;
    bool gpus = false;      // each worker has some
    bool can_help = false;  // each worker does
    // More for workers that can do what few others can: GPU, CPU level, memory.
    std::tuple<bool, int, std::uint64_t> scarcity;
    std::size_t workers = 0;
    std::array<std::size_t, memory_steps> sizes{};  // of these, by the steps of their memory
    unsigned largest = 0;                           // of those
    ladder free;                                    // those with a free slot that are kept for nothing
    ladder free_to_measure;                         // of these, those with a free GPU
    std::vector<job_class*> classes;                // that it can compile for

    const ladder& takers(const job_class& c) const { return c.measures ? free_to_measure : free; }
  };
  // One that waits, or runs.
  struct known_job {
    const std::string* id = nullptr;  // its key in jobs_
    tenant* whose = nullptr;
    line* in = nullptr;       // where it waits; null: it runs
    line_order::iterator at;  // among the jobs of its line
    age_order::iterator old;  // among those of its class
    worker* by = nullptr;     // that runs it; null: it waits
    std::size_t index = 0;    // among the jobs of that
    std::uint64_t memory_bytes = 0;
    bool measures = false;
  };

  static bool less_scarce(const pool* a, const pool* b);
  static result<void> can_take(const pool& p, const platform& target, std::uint64_t memory_above, bool measures);
  static result<void> can_take(const pool& p, const job_class& c) {
    return can_take(p, c.target, c.memory_above, c.measures);
  }

  // A worker is out of all counts and orders while something of it changes.
  void take_out(worker& w);
  void put_in(worker& w);
  pool& pool_of(const worker_offer& offer);
  void drop_if_empty(pool* p);
  void join(worker& w, pool* p);  // null: none
  // Returns the pool that it was in, if any, whose jobs may now be content with less.
  pool* leave(worker& w);
  // The sizes of its workers have changed.
  void count_sizes(pool& p);
  job_class& class_of(const request& r);
  void wake(job_class& c);

  // What it takes has to be found out anew.
  static void size_up(job_class& c);
  // Whether it would start there if only the worker's memory were free.
  static bool could_have(const job_class& c, const worker& w);
  static bool starts_on(const job_class& c, const worker& w);
  static bool can_start(const job_class& c);
  // Whom it leaves to others: nobody, where there are none.
  static const std::vector<worker*>& avoided_by(const job_class& c);
  // A class that has waited long enough for the worker's memory, and for longer than the one that would start there.
  static job_class* keeper_of(const worker& w, const job_class* instead_of);
  // Whether what runs there will leave more of its memory.
  static bool leaves_more(const worker& w);
  // Other schedulers' jobs have begun there, and have taken memory.
  void count_overtaken_by_others(worker& w);
  void keep(worker& w, job_class& c, std::uint64_t number);
  void let_go(job_class& c);
  void let_go_if_useless(worker& w);
  void tell_kept(worker& w);  // by kept_changes
  // The number of its keep that the job which starts there now ends, as far as the worker knows; 0: of none.
  static std::uint64_t ended_by_job(worker& w);

  tenant& tenant_of(const std::string& space);
  void set_running(tenant& t, std::size_t running);
  void drop_if_idle(tenant& t);

  static turn turn_of(const line& l);
  // The line's turn may come sooner than its key says.
  static void move(line& l);
  // Its first job may have changed.
  static void look_at_first(line& l);
  static void put_in_order(lane& in);
  // Takes it from the queue, with whatever is thereby empty; neither waits nor runs then.
  void unqueue(known_job& job);
  // Leaves those that some worker could take a job of, each with its first lane in order.
  void look_at_ready();
  bool goes_before(const job_class& a, const job_class& b) const;
  job_class& next_class() const;
  static known_job& next_job(const job_class& c);
  static worker* best_worker(const job_class& c);
  void run(known_job& job, worker& w);
  const known_job* waiting(const std::string& job) const;  // null: it does not wait
  void count_overtaken(const age& chosen, const worker& on);

  // The parts of inconsistency.
  static std::string wrong_with(const worker& w);
  std::string wrong_with_workers() const;
  std::string wrong_with_pools() const;
  std::string wrong_with_queue() const;
  std::string wrong_with_spaces() const;

  std::string salt_;
  std::map<std::string, worker> workers_;
  text_map<std::unique_ptr<pool>> pools_;
  text_map<std::unique_ptr<job_class>> classes_;
  std::vector<job_class*> ready_;     // all that may have a worker with a free slot
  std::vector<job_class*> avoiding_;  // all that avoid workers, connected or not
  text_map<tenant> tenants_;
  text_map<known_job> jobs_;
  std::size_t running_ = 0;       // of these
  std::set<std::string> full_;    // workers that have said so
  std::set<std::string> faulty_;  // workers without slots, which say why
  std::vector<worker*> kept_changed_;
  std::array<std::size_t, worker_states> states_{};
  std::uint64_t slots_ = 0;
  std::uint64_t free_slots_ = 0;
  std::uint64_t arrivals_ = 0;  // of jobs and of workers
  std::uint64_t keeps_ = 0;     // how often workers have been kept
};

worker_state state_of(const scheduler::worker_offer& offer, std::size_t busy);
inline worker_state state_of(const scheduler::worker_view& w) {
  return state_of(w.offer, w.busy);
}

}  // namespace fxfarm
