// What a scheduling decision costs in a farm whose every slot is taken, and what a queued job takes of memory.

#include "actors/coordinator_core.hpp"

#include <cstdio>
#include <random>

#include <benchmark/benchmark.h>
#include <malloc.h>

using namespace fxfarm;
using namespace fxfarm::actors;

namespace {

constexpr unsigned slots_each = 4;
constexpr unsigned spaces = 50;
constexpr unsigned ranks = 3;
constexpr unsigned platforms_each = 3;  // that the jobs of one space are for

// What malloc has given out, with its headers.
std::size_t allocated_bytes() {
  const auto found = mallinfo2();
  return found.uordblks + found.hblkhd;
}

std::string hex64(std::uint64_t n) {
  char text[65];
  std::snprintf(text, sizeof text, "%064llx", static_cast<unsigned long long>(n));
  return text;
}

// Two versions of torch, four CPU levels, and three kinds of devices.
std::vector<platform> machines() {
  std::vector<platform> out;
  for (const char* torch : {"2.12.0+cu130", "2.13.0+cu130"}) {
    for (const char* isa : {"x86-64-v2", "x86-64-v3", "x86-64-v4"}) {
      for (const char* gpu : {"", "NVIDIA A100-SXM4-80GB sm_80", "NVIDIA H100 80GB HBM3 sm_90"}) {
        platform p;
        p.torch = torch;
        p.python = "3.11";
        p.triton = "3.6.0";
        p.isa = isa;
        p.threads = 16;
        if (*gpu != '\0') {
          p.device = "cuda";
          p.gpu = gpu;
          p.gpu_driver = "cuda 13.0";
        }
        out.push_back(std::move(p));
      }
    }
  }
  return out;
}

// What jobs take where memory is counted: eight needs, as many for each, of which a worker's slots want 9 GiB together
// on average.
constexpr std::uint64_t memory_each = 10 * 1024 * limits::MiB;
std::uint64_t memory_of(std::uint64_t job) {
  return (job % 8 + 1) * 512 * limits::MiB;
}

// A scheduler that keeps as many jobs queued as it was given, and every slot taken, or all memory, where that is
// counted and slots are left.
class full_farm {
public:
  full_farm(std::size_t workers, std::size_t queued, bool counts_memory = false) : counts_memory_(counts_memory) {
    for (unsigned i = 0; i < spaces; ++i) spaces_.push_back("space-" + std::to_string(i));
    for (std::size_t i = 0; i < workers; ++i) {
      scheduler::worker_offer offer{platforms_[i % platforms_.size()], slots_each, 0, false, {}};
      if (counts_memory_) offer.memory_bytes = memory_each;
      offer.can_be_kept = true;
      jobs_.set_worker(worker(i), std::move(offer));
    }
    // Each job prefers workers on its own platform, so that these take all slots.
    for (std::size_t i = 0; i < workers * slots_each; ++i) {
      enqueue({i % workers % platforms_.size(), pick(ranks), pick(std::size_t{spaces})});
    }
    start();
    for (std::size_t i = 0; i < queued; ++i) enqueue(any_kind());
    start();
  }

  // A job ends, whatever can start does, and another of its kind comes in its place.
  void decide() {
    const auto at = pick(running_.size());
    jobs_.release(running_[at]);
    running_[at] = std::move(running_.back());
    running_.pop_back();
    start();
  }

  const scheduler& jobs() const { return jobs_; }

private:
  struct kind {
    std::size_t target;
    unsigned rank;
    std::size_t space;
  };

  void enqueue(const kind& k) {
    // The name tells its kind again when the job has been started.
    const auto n = ++made_;
    const auto job = (n << 24) | (k.target << 16) | (k.rank << 8) | k.space;
    scheduler::request wanted{hex64(job),       platforms_[k.target],        k.rank,
                              spaces_[k.space], static_cast<double>(n % 97), time_point(std::chrono::milliseconds(n))};
    if (counts_memory_) wanted.memory_bytes = memory_of(n);
    jobs_.enqueue(std::move(wanted));
  }
  kind any_kind() {
    const auto space = pick(std::size_t{spaces});
    return {(space + pick(platforms_each)) % platforms_.size(), pick(ranks), space};
  }

  void start() {
    for (auto& [job, on, memory_bytes, ends_keep] : jobs_.assign()) {
      const auto n = std::stoull(job.substr(48), nullptr, 16);
      running_.push_back(std::move(job));
      if (filled_) enqueue({(n >> 16) & 0xff, static_cast<unsigned>((n >> 8) & 0xff), n & 0xff});
    }
    benchmark::DoNotOptimize(jobs_.kept_changes());
    filled_ = true;
  }

  template <class N>
  N pick(N below) {
    return std::uniform_int_distribution<N>(0, below - 1)(random_);
  }
  static std::string worker(std::size_t i) { return "worker-" + std::to_string(i); }

  bool counts_memory_;
  std::mt19937 random_{1};
  std::vector<platform> platforms_ = machines();
  scheduler jobs_;
  std::vector<std::string> spaces_;
  std::vector<std::string> running_;
  std::uint64_t made_ = 0;
  bool filled_ = false;
};

void decide_in(benchmark::State& state, bool counts_memory) {
  full_farm farm(static_cast<std::size_t>(state.range(0)), static_cast<std::size_t>(state.range(1)), counts_memory);
  for (auto _ : state) farm.decide();
  state.counters["queued"] = static_cast<double>(farm.jobs().queued());
  state.counters["running"] = static_cast<double>(farm.jobs().running());
}
void decision(benchmark::State& state) {
  decide_in(state, false);
}
BENCHMARK(decision)->ArgsProduct({{10'000}, {1'000, 10'000, 100'000}})->Unit(benchmark::kMicrosecond);
BENCHMARK(decision)->ArgsProduct({{100, 1'000}, {100'000}})->Unit(benchmark::kMicrosecond);

void decision_with_memory(benchmark::State& state) {
  decide_in(state, true);
}
BENCHMARK(decision_with_memory)->ArgsProduct({{10'000}, {1'000, 100'000}})->Unit(benchmark::kMicrosecond);

class nowhere final : public coordinator_port {
public:
  void send(const net::peer_id& to, net::message what, blob) override {
    if (const auto* m = std::get_if<net::job>(&what)) started.emplace_back(to, m->id, m->stage_key);
  }
  std::shared_ptr<const stored> find_in_memory(const std::string&) override { return nullptr; }
  void read_store(const std::string& key) override { reading = key; }
  void write_store(const std::string& key, stored) override { writing = key; }
  void remove_stored(const std::string&) override {}

  std::vector<std::tuple<net::peer_id, std::string, std::string>> started;
  std::string reading, writing;
};

// A whole coordinator with its clients, workers and jobs.
class coordinator {
public:
  coordinator(std::size_t workers, std::size_t queued) {
    for (std::size_t i = 0; i < workers; ++i) {
      net::worker_offer offer;
      offer.runs_on = platforms_[i % platforms_.size()];
      offer.slots = slots_each;
      come("worker-" + std::to_string(i), "worker");
      say("worker-" + std::to_string(i), offer);
    }
    clients_ = 1 + (queued + workers * slots_each) / (limits::jobs_queued_per_client_max / 2);
    for (std::size_t i = 0; i < clients_; ++i) come("client-" + std::to_string(i), "client");
    // As many as all slots take, and then those that are counted.
    for (std::size_t i = 0; i < workers * slots_each; ++i) add_job();
    const auto before = allocated_bytes();
    for (std::size_t i = 0; i < queued; ++i) add_job();
    queue_bytes_ = allocated_bytes() - before;
  }

  // A worker sends a result, the store keeps it, and another client asks for something.
  void turn() {
    const auto at = std::uniform_int_distribution<std::size_t>(0, port_.started.size() - 1)(random_);
    const auto [worker, id, stage_key] = port_.started[at];
    port_.started[at] = std::move(port_.started.back());
    port_.started.pop_back();
    say(worker, net::job_done{id, stage_key, {{"lower", 1.0}}}, blob_);
    core_.store_written(port_.writing, {}, now_);
    add_job();
    core_.publish_gauges();
  }
  void tick() {
    now_ += std::chrono::microseconds(1);
    core_.tick(now_);
    core_.publish_gauges();
  }
  std::size_t queue_bytes() const { return queue_bytes_; }

private:
  void come(const net::peer_id& id, const char* role) {
    net::hello who;
    who.role = role;
    who.id = id;
    core_.handle({id, net::peer_up{who}, nullptr}, now_);
  }
  void say(const net::peer_id& from, net::message what, blob attachment = nullptr) {
    core_.handle({from, std::move(what), std::move(attachment)}, now_);
  }
  void add_job() {
    const auto n = ++made_;
    net::lookup m;
    m.graph_key = hex64(n);
    m.name = "GPT2Model.forward/" + std::to_string(n % 100);
    m.stages = {{"max-autotune", {{"max_autotune", "true"}, {"coordinate_descent_tuning", "true"}}}};
    m.target = platforms_[n % clients_ % platforms_.size()];
    m.space = "space-" + std::to_string(n % spaces);
    const auto client = "client-" + std::to_string(n % clients_);
    say(client, std::move(m));
    core_.store_read(std::string(port_.reading), std::optional<stored>(), now_);
    say(client, net::submit{hex64(n)}, blob_);
  }
  static coordinator_settings settings() {
    coordinator_settings s;
    s.id = "farm";
    s.salt = "salt";
    s.jobs.jobs_max = 10 * limits::jobs_queued_max;
    return s;
  }

  std::mt19937 random_{1};
  std::vector<platform> platforms_ = machines();
  // Graphs are bounded by their bytes, not by this: all jobs share one.
  blob blob_ = make_blob(bytes(1));
  time_point now_{std::chrono::hours(1)};
  std::size_t clients_ = 0, queue_bytes_ = 0;
  std::uint64_t made_ = 0;
  nowhere port_;
  monitoring::metrics metrics_{"0", "coordinator"};
  coordinator_core core_{settings(), port_, metrics_.coordinator(), {}, now_};
};

void coordinator_turn(benchmark::State& state) {
  coordinator farm(static_cast<std::size_t>(state.range(0)), static_cast<std::size_t>(state.range(1)));
  for (auto _ : state) farm.turn();
  state.counters["bytes_per_job"] = static_cast<double>(farm.queue_bytes()) / static_cast<double>(state.range(1));
}
BENCHMARK(coordinator_turn)->ArgsProduct({{10'000}, {1'000, 10'000, 100'000}})->Unit(benchmark::kMicrosecond);

void coordinator_tick(benchmark::State& state) {
  coordinator farm(static_cast<std::size_t>(state.range(0)), static_cast<std::size_t>(state.range(1)));
  for (auto _ : state) farm.tick();
}
BENCHMARK(coordinator_tick)->ArgsProduct({{10'000}, {1'000, 10'000, 100'000}})->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
