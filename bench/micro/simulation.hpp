#pragma once
// A farm in simulated time: real coordinators with their schedulers and job tables, clients that choose one by
// rendezvous hashing, and workers that let time pass. There are no sockets and no disk; messages take no time.

#include "actors/coordinator_core.hpp"

#include <deque>
#include <functional>
#include <queue>
#include <random>

namespace fxfarm::bench {

struct shape {
  double hours = 24;
  unsigned coordinators = 1;
  unsigned workers = 1;  // with one slot each
  double models_per_hour = 0;
  double swing = 0;          // of that rate over a day, as a part of it
  unsigned ranks_max = 1;    // processes of one model; half of the models have 1, a quarter 2, and so on
  unsigned graphs_max = 1;   // of one model; evenly from 1
  std::uint64_t models = 0;  // that there are, chosen by Zipf's law with exponent 1; 0: each one is new
  unsigned stages = 1;
  double first_seconds = 60;  // mean of a first stage, exponential
  double later_factor = 1;    // how many times as long a later one takes
  double worker_failures_per_hour = 0;
  double coordinator_failures_per_hour = 0;
};

struct outcome {
  std::uint64_t clients = 0, lookups = 0, compiles = 0, artifacts = 0, failed = 0;
  // Artifacts that were made although there was one: on another coordinator's disk, or on that of the same.
  std::uint64_t repeated_elsewhere = 0, repeated_here = 0;
  std::uint64_t worker_failures = 0, coordinator_failures = 0, events = 0;
  double busy_seconds = 0;  // of all slots
  // Seconds that an artifact's job waited for a slot, in its coordinator and its worker.
  std::vector<float> first_waits, later_waits;
  std::vector<std::pair<double, double>> busy;  // hour, part of the slots
};

class farm {
public:
  explicit farm(const shape& s);
  outcome run();

private:
  struct event {
    double when;
    std::uint64_t number;
    std::function<void()> what;
    bool operator<(const event& o) const { return when != o.when ? when > o.when : number > o.number; }
  };
  struct job {
    unsigned coordinator;
    std::uint64_t life;  // of the coordinator
    std::string id, stage_key;
    bool first;
    double handed;  // when it came to the worker
  };
  struct worker {
    bool up = false;
    std::optional<job> running;
    double since = 0;
    std::deque<job> waiting;
    std::map<unsigned, unsigned> told;  // coordinator -> how many jobs of others it knows of
  };
  // A coordinator, with what stands for its network and its disk.
  struct coordinator final : actors::coordinator_port {
    farm* in = nullptr;
    unsigned number = 0;
    std::uint64_t life = 0;  // counts its restarts
    bool up = false;
    std::unique_ptr<monitoring::metrics> metrics;
    std::unique_ptr<actors::coordinator_core> core;
    std::set<std::string> disk;  // stage keys
    struct client {
      std::vector<net::lookup> lookups;
      std::set<std::string> unanswered;  // stage keys
    };
    std::map<net::peer_id, client> clients;

    void start();
    void later(std::function<void()> what);  // unless it dies before
    void tell(const net::peer_id& from, net::message what, blob attachment = nullptr);
    void come(const net::peer_id& id, const char* role);
    void go(const net::peer_id& id);
    void answered(const net::peer_id& id, const std::string& stage_key);
    void send(const net::peer_id& to, net::message what, blob attachment) override;
    std::shared_ptr<const stored> find_in_memory(const std::string&) override { return nullptr; }
    void read_store(const std::string& key) override;
    void write_store(const std::string& key, stored what) override;
    void remove_stored(const std::string&) override {}
  };

  void after(double seconds, std::function<void()> what);
  void repeat(double seconds, std::function<void()> what);
  double exponential(double mean) { return std::exponential_distribution<double>(1 / mean)(random_); }
  std::size_t pick(std::size_t below) { return std::uniform_int_distribution<std::size_t>(0, below - 1)(random_); }
  coordinator& owner_of(const std::string& graph_key);

  void start_models();
  void start_model(std::uint64_t model);
  void ask(const net::peer_id& id, const std::vector<net::lookup>& lookups);

  static net::peer_id name_of(std::size_t worker) { return "w" + std::to_string(worker); }
  void greet(coordinator& c, std::size_t worker);
  unsigned taken_by_others(const coordinator& c, const worker& w) const;
  void offer(coordinator& c, std::size_t worker);
  void offer_changes(std::size_t worker);
  void take_job(std::size_t worker, job j);
  void run_next(std::size_t worker);
  void end_job(std::size_t worker, const std::string& id);
  void stop_running(worker& w);
  void renew();
  void fail_worker();
  void fail_coordinator();

  shape shape_;
  std::mt19937_64 random_{1};
  double now_ = 0;
  std::uint64_t events_made_ = 0, peers_made_ = 0, models_made_ = 0;
  std::priority_queue<event> events_;
  blob bytes_;
  stage_list stages_;
  std::deque<coordinator> coordinators_;
  std::vector<worker> workers_;
  std::size_t running_ = 0;
  std::unordered_map<std::string, std::uint64_t> made_;  // stage key -> a bit for each coordinator that had it made
  outcome out_;
};

}  // namespace fxfarm::bench
