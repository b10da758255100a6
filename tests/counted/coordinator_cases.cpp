// What a coordinator does for a lookup and for a job, without the network and the disk.

#include "actors/coordinator_core.hpp"
#include "farm_of.hpp"
#include "hot_path.hpp"
#include "runtime/memory_store.hpp"

#include <tuple>
#include <utility>

namespace fxfarm::counted {
namespace {

using namespace actors;

constexpr std::size_t artifact_bytes = 256;

// What would go to clients and workers ends here. Artifacts are kept in memory.
class outside final : public coordinator_port {
public:
  outside() {
    auto reporter = std::make_shared<const store_reporter>();
    std::vector<std::unique_ptr<store_tier>> tiers;
    tiers.push_back(std::make_unique<memory_store>(std::size_t{1} << 20, reporter));
    memory_ = std::make_unique<store>(std::move(tiers), reporter);
  }
  void send(const net::peer_id& to, net::message what, blob) override {
    if (const auto* m = std::get_if<net::job>(&what)) started.emplace_back(to, m->id, m->stage_key);
    answered += std::holds_alternative<net::stage_ready>(what) ? 1 : 0;
    progress += std::holds_alternative<net::stage_progress>(what) ? 1 : 0;
  }
  std::shared_ptr<const stored> find_in_memory(const std::string& key) override { return memory_->get_at_once(key); }
  void read_store(const std::string& key) override { reading = key; }
  void write_store(const std::string& key, stored what) override {
    written = key;
    (void)memory_->put(key, what);
  }
  void remove_stored(const std::string&) override {}

  std::vector<std::tuple<net::peer_id, std::string, std::string>> started;
  std::string reading, written;
  std::size_t answered = 0, progress = 0;

private:
  std::unique_ptr<store> memory_;
};

class farm : public hot_path {
public:
  farm(std::size_t workers, unsigned slots_each, std::size_t clients) : clients_(clients) {
    for (std::size_t i = 0; i < workers; ++i) {
      const auto id = "worker-" + std::to_string(i);
      come(id, "worker");
      net::worker_offer offer;
      offer.runs_on = machines_[i % machines_.size()];
      offer.slots = slots_each;
      say(id, offer);
    }
    for (std::size_t i = 0; i < clients; ++i) come(client(i), "client");
  }

protected:
  static net::peer_id client(std::size_t i) { return "client-" + std::to_string(i); }

  net::lookup lookup_of(std::uint64_t graph) const {
    net::lookup m;
    m.graph_key = hex64(graph);
    m.name = "GPT2Model.forward/" + std::to_string(graph % 100);
    m.stages = {{"max-autotune", {{"max_autotune", "true"}, {"coordinate_descent_tuning", "true"}}}};
    m.target = machines_[graph % machines_.size()];
    m.space = "space-" + std::to_string(graph % 50);
    return m;
  }
  // Nobody has asked for the graph before: it is looked for on the disk in vain, brought, and its job waits.
  void ask_first(const net::peer_id& from, std::uint64_t graph) {
    say(from, lookup_of(graph));
    core_.store_read(std::string(outside_.reading), std::optional<stored>(), now_);
    say(from, net::submit{hex64(graph)}, bytes_);
  }
  // The job that was started `nth`, counted round, ends.
  void finish(std::size_t nth) {
    auto& job = outside_.started[nth % outside_.started.size()];
    const auto [worker, id, stage_key] = std::exchange(job, std::move(outside_.started.back()));
    outside_.started.pop_back();
    say(worker, net::job_done{id, stage_key, {{"compile", 1.5}, {"pack", 0.25}}}, bytes_);
    core_.store_written(outside_.written, {}, now_);
  }
  void handle(const net::inbound& in) {
    now_ += std::chrono::milliseconds(1);
    core_.handle(in, now_);
  }
  void say(const net::peer_id& from, net::message what, blob attachment = nullptr) {
    handle({from, std::move(what), std::move(attachment)});
  }

  std::size_t clients_;
  outside outside_;
  monitoring::metrics metrics_{"1.2.3", "coordinator"};
  time_point now_{std::chrono::hours(1)};
  coordinator_core core_{settings(), outside_, metrics_.coordinator(), {}, now_};

private:
  void come(const net::peer_id& id, const char* role) {
    net::hello who;
    who.role = role;
    who.id = id;
    who.host = "host";
    handle({id, net::peer_up{who}, nullptr});
  }
  static coordinator_settings settings() {
    coordinator_settings s;
    s.id = "farm";
    s.salt = "salt";
    s.history_graphs = 500;  // so that it is full before anything is counted
    s.unix_seconds = [] { return 1.0; };
    return s;
  }

  const std::vector<platform> machines_ = machines();
  const blob bytes_ = make_blob(bytes(artifact_bytes));
};

// Sixteen clients ask for graphs whose artifacts are in memory.
class cached_lookup final : public farm {
public:
  static constexpr std::size_t graphs = 64;

  cached_lookup() : farm(12, 1, 16) {
    for (std::size_t graph = 0; graph < graphs; ++graph) {
      ask_first(client(graph % clients_), graph);
      finish(0);
    }
    for (std::size_t i = 0; i < graphs * clients_; ++i) {
      asked_.push_back({client(i % clients_), lookup_of(i % graphs), nullptr});
    }
  }
  void once() override { handle(asked_[++at_ % asked_.size()]); }
  std::size_t done() const override { return outside_.answered; }

private:
  std::vector<net::inbound> asked_;
  std::size_t at_ = 0;
};

// One that waits asks again, as after a lost link, while the job is queued behind others.
class joined_lookup final : public farm {
public:
  joined_lookup() : farm(12, 1, 16) {
    for (std::size_t graph = 0; graph < 500; ++graph) ask_first(client(graph % clients_), graph);
    for (std::size_t i = 0; i < clients_; ++i) asked_.push_back({client(i), lookup_of(499), nullptr});
  }
  void once() override { handle(asked_[++at_ % asked_.size()]); }
  std::size_t done() const override { return outside_.progress; }

private:
  std::vector<net::inbound> asked_;
  std::size_t at_ = 0;
};

// In a farm whose every slot is taken and whose queue is long: a job ends, its artifact is stored and sent, another
// starts, and another graph is asked for.
class job final : public farm {
public:
  job() : farm(1'000, 4, 16) {
    while (made_ < 6'000) ask_next();
  }
  void once() override {
    finish(made_ * 21 + 7);
    ask_next();
  }
  std::size_t done() const override { return outside_.answered; }

private:
  void ask_next() {
    ask_first(client(made_ % clients_), made_);
    ++made_;
  }

  std::uint64_t made_ = 0;
};

// A hundred clients ask for one graph, and get its artifact.
class shared_job final : public farm {
public:
  shared_job() : farm(12, 1, 100) {}
  void once() override {
    const auto graph = ++made_;
    ask_first(client(0), graph);
    for (std::size_t i = 1; i < clients_; ++i) say(client(i), lookup_of(graph));
    finish(0);
  }
  std::size_t done() const override { return outside_.answered / clients_; }

private:
  std::uint64_t made_ = 0;
};

// What it does each second while jobs wait.
class tick final : public farm {
public:
  tick() : farm(1'000, 1, 16) {
    for (std::size_t graph = 0; graph < 3'000; ++graph) ask_first(client(graph % clients_), graph);
  }
  void once() override {
    now_ += std::chrono::microseconds(1);
    core_.tick(now_);
    core_.publish_gauges();
    ++ticks_;
  }
  std::size_t done() const override { return ticks_; }

private:
  std::size_t ticks_ = 0;
};

}  // namespace

std::vector<counted_case> coordinator_cases() {
  return {{"cached_lookup", 2'000, made<cached_lookup>},
          {"joined_lookup", 1'000, made<joined_lookup>},
          {"job_in_a_full_farm", 1'000, made<job>},
          {"job_for_100_clients", 20, made<shared_job>},
          {"tick_of_2000_jobs", 200, made<tick>}};
}

}  // namespace fxfarm::counted
