#include "simulation.hpp"

#include "runtime/keys.hpp"
#include "runtime/rendezvous.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>

namespace fxfarm::bench {
namespace {

constexpr double worker_away_seconds = 300;
constexpr double coordinator_away_seconds = 60;
constexpr double silence_seconds = 10;  // until a dead worker is missed, limits::peer_silence_max
constexpr double renewal_seconds = 200;
constexpr double sample_seconds = 300;

time_point moment(double seconds) {
  return time_point(std::chrono::duration_cast<time_point::duration>(std::chrono::duration<double>(3600 + seconds)));
}

platform machine() {
  platform p;
  p.torch = "2.13.0";
  p.python = "3.11";
  return p;
}

}  // namespace

farm::farm(const shape& s) : shape_(s), bytes_(make_blob(bytes(1))), workers_(s.workers) {
  for (unsigned i = 0; i < s.stages; ++i) stages_.push_back({"stage-" + std::to_string(i), {{"n", std::to_string(i)}}});
  for (unsigned i = 0; i < s.coordinators; ++i) {
    auto& c = coordinators_.emplace_back();
    c.in = this;
    c.number = i;
    c.start();
  }
  for (std::size_t w = 0; w < workers_.size(); ++w) {
    workers_[w].up = true;
    for (auto& c : coordinators_) greet(c, w);
  }
}

outcome farm::run() {
  const double end = shape_.hours * 3600;
  start_models();
  repeat(1, [this] {
    for (auto& c : coordinators_) {
      if (c.up) c.core->tick(moment(now_));
    }
  });
  repeat(renewal_seconds, [this] { renew(); });
  repeat(sample_seconds, [this] {
    out_.busy.emplace_back(now_ / 3600, static_cast<double>(running_) / static_cast<double>(workers_.size()));
  });
  if (shape_.worker_failures_per_hour > 0) after(0, [this] { fail_worker(); });
  if (shape_.coordinator_failures_per_hour > 0) after(3600, [this] { fail_coordinator(); });
  while (!events_.empty() && events_.top().when <= end) {
    const auto next = events_.top();
    events_.pop();
    now_ = next.when;
    ++out_.events;
    next.what();
  }
  now_ = end;
  for (auto& w : workers_) {
    if (w.running) stop_running(w);
  }
  out_.artifacts = made_.size();
  return std::move(out_);
}

void farm::after(double seconds, std::function<void()> what) {
  events_.push({now_ + seconds, events_made_++, std::move(what)});
}

void farm::repeat(double seconds, std::function<void()> what) {
  after(seconds, [this, seconds, what] {
    what();
    repeat(seconds, what);
  });
}

// --- coordinators ----------------------------------------------------------------------------------------------------

void farm::coordinator::start() {
  actors::coordinator_settings s;
  s.id = "farm-" + std::to_string(number) + "-" + std::to_string(++life);
  s.salt = "salt";
  s.jobs.jobs_max = SIZE_MAX;
  s.graph_bytes_max = SIZE_MAX;
  // Renewals would be most of the events: fewer of longer leases, which no compile outlasts.
  s.jobs.lease = std::chrono::seconds(static_cast<int>(3 * renewal_seconds));
  s.jobs.deadline = std::chrono::hours(1'000);
  metrics = std::make_unique<monitoring::metrics>("0", "coordinator");
  core = std::make_unique<actors::coordinator_core>(s, *this, metrics->coordinator(), actors::statistics_access{},
                                                    moment(in->now_));
  up = true;
}

void farm::coordinator::later(std::function<void()> what) {
  in->after(0, [this, born = life, what = std::move(what)] {
    if (up && life == born) what();
  });
}

void farm::coordinator::tell(const net::peer_id& from, net::message what, blob attachment) {
  core->handle({from, std::move(what), std::move(attachment)}, moment(in->now_));
}

void farm::coordinator::come(const net::peer_id& id, const char* role) {
  net::hello who;
  who.role = role;
  who.id = id;
  core->handle({id, net::peer_up{who}, nullptr}, moment(in->now_));
}

void farm::coordinator::go(const net::peer_id& id) {
  core->handle({id, net::peer_down{{errc::unreachable, "gone"}}, nullptr}, moment(in->now_));
}

void farm::coordinator::send(const net::peer_id& to, net::message what, blob) {
  if (const auto* m = std::get_if<net::need_graph>(&what)) {
    later([this, to, graph = m->graph_key] { tell(to, net::submit{graph}, in->bytes_); });
  } else if (const auto* m = std::get_if<net::job>(&what)) {
    in->take_job(std::stoul(to.substr(1)),
                 {number, life, m->id, m->stage_key, m->stage.name == in->stages_[0].name, in->now_});
  } else if (const auto* m = std::get_if<net::stage_ready>(&what)) {
    later([this, to, key = m->stage_key] { answered(to, key); });
  } else if (const auto* m = std::get_if<net::stage_failed>(&what)) {
    ++in->out_.failed;
    later([this, to, key = m->stage_key] { answered(to, key); });
  }
}

void farm::coordinator::read_store(const std::string& key) {
  later([this, key] {
    std::optional<stored> found;
    if (disk.contains(key)) found = stored{in->bytes_, {}, "", "disk"};
    core->store_read(key, found, moment(in->now_));
  });
}

void farm::coordinator::write_store(const std::string& key, stored) {
  disk.insert(key);
  later([this, key] { core->store_written(key, {}, moment(in->now_)); });
}

// --- clients ---------------------------------------------------------------------------------------------------------

farm::coordinator& farm::owner_of(const std::string& graph_key) {
  std::vector<std::string> up;
  for (const auto& c : coordinators_) {
    if (c.up) up.push_back(std::to_string(c.number));
  }
  return coordinators_[std::stoul(rendezvous_pick(graph_key, up))];
}

void farm::start_models() {
  const double day = 1 + shape_.swing * std::sin(2 * std::numbers::pi * now_ / 86'400);
  after(exponential(3600 / (shape_.models_per_hour * day)), [this] {
    const double u = std::uniform_real_distribution<double>(0, 1)(random_);
    const auto zipf = static_cast<std::uint64_t>(std::pow(static_cast<double>(shape_.models), u));
    start_model(shape_.models == 0 ? ++models_made_ : zipf);
    start_models();
  });
}

// All processes of a model ask for the same graphs at the same time.
void farm::start_model(std::uint64_t model) {
  std::vector<net::lookup> lookups;
  const auto graphs = 1 + std::mt19937_64(model)() % shape_.graphs_max;
  for (std::uint64_t g = 0; g < graphs; ++g) {
    char key[65];
    std::snprintf(key, sizeof key, "%064llx", static_cast<unsigned long long>(model << 16 | g));
    net::lookup m;
    m.graph_key = key;
    m.stages = stages_;
    m.target = machine();
    m.space = "space-" + std::to_string(model % 40);
    lookups.push_back(std::move(m));
  }
  std::size_t ranks = 1;
  while (ranks * 2 <= shape_.ranks_max && pick(2) == 0) ranks *= 2;
  out_.clients += ranks;
  for (std::size_t r = 0; r < ranks; ++r) ask("c" + std::to_string(++peers_made_), lookups);
}

void farm::ask(const net::peer_id& id, const std::vector<net::lookup>& lookups) {
  for (const auto& m : lookups) {
    auto& c = owner_of(m.graph_key);
    auto [it, fresh] = c.clients.try_emplace(id);
    if (fresh) c.come(id, "client");
    it->second.lookups.push_back(m);
    for (const auto& stage : m.stages) {
      it->second.unanswered.insert(make_stage_key(m.graph_key, m.target, stage, "salt"));
    }
    ++out_.lookups;
    c.tell(id, m);
  }
}

void farm::coordinator::answered(const net::peer_id& id, const std::string& stage_key) {
  auto it = clients.find(id);
  if (it == clients.end()) return;
  it->second.unanswered.erase(stage_key);
  if (!it->second.unanswered.empty()) return;
  clients.erase(it);
  go(id);
}

// --- workers ---------------------------------------------------------------------------------------------------------

void farm::greet(coordinator& c, std::size_t worker) {
  c.come(name_of(worker), "worker");
  offer(c, worker);
}

unsigned farm::taken_by_others(const coordinator& c, const worker& w) const {
  const auto of_others = [&](const job& j) { return j.coordinator != c.number; };
  return static_cast<unsigned>((w.running && of_others(*w.running)) +
                               std::count_if(w.waiting.begin(), w.waiting.end(), of_others));
}

void farm::offer(coordinator& c, std::size_t worker) {
  auto& w = workers_[worker];
  net::worker_offer m;
  m.runs_on = machine();
  m.slots = 1;
  m.taken = w.told[c.number] = taken_by_others(c, w);
  c.tell(name_of(worker), m);
}

// A while later, since a coordinator may be at work just now.
void farm::offer_changes(std::size_t worker) {
  for (auto& c : coordinators_) {
    auto& w = workers_[worker];
    if (!c.up || w.told[c.number] == taken_by_others(c, w)) continue;
    c.later([this, &c, worker] {
      const auto& now = workers_[worker];
      if (now.up && now.told.at(c.number) != taken_by_others(c, now)) offer(c, worker);
    });
  }
}

// What every coordinator may count on waits, and more is refused, as actors/worker.cpp has it.
void farm::take_job(std::size_t worker, job j) {
  auto& w = workers_[worker];
  if (!w.up) return;
  if (w.waiting.size() < coordinators_.size()) {
    w.waiting.push_back(std::move(j));
    run_next(worker);
    return offer_changes(worker);
  }
  auto& c = coordinators_[j.coordinator];
  c.later([&c, worker, j] { c.tell(name_of(worker), net::job_failed{j.id, j.stage_key, "busy", "full"}); });
}

void farm::run_next(std::size_t worker) {
  auto& w = workers_[worker];
  if (w.running || w.waiting.empty()) return;
  w.running = std::move(w.waiting.front());
  w.waiting.pop_front();
  w.since = now_;
  ++running_;
  ++out_.compiles;
  const double mean = shape_.first_seconds * (w.running->first ? 1 : shape_.later_factor);
  after(exponential(mean), [this, worker, id = w.running->id] { end_job(worker, id); });
}

void farm::stop_running(worker& w) {
  out_.busy_seconds += now_ - w.since;
  --running_;
  w.running.reset();
}

void farm::end_job(std::size_t worker, const std::string& id) {
  auto& w = workers_[worker];
  if (!w.running || w.running->id != id) return;
  const auto done = *w.running;
  const double in_worker = w.since - done.handed;
  stop_running(w);
  auto& c = coordinators_[done.coordinator];
  const auto* job = c.core->find_job(done.stage_key);
  (done.first ? out_.first_waits : out_.later_waits)
      .push_back(static_cast<float>((job ? job->queue_seconds() : 0) + in_worker));
  auto& makers = made_[done.stage_key];
  const auto maker = std::uint64_t{1} << done.coordinator;
  if ((makers & maker) != 0) {
    ++out_.repeated_here;
  } else if (makers != 0) {
    ++out_.repeated_elsewhere;
  }
  makers |= maker;
  c.tell(name_of(worker), net::job_done{done.id, done.stage_key, {}}, bytes_);
  run_next(worker);
  offer_changes(worker);
}

void farm::renew() {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const auto& w = workers_[i];
    std::map<unsigned, net::job_alive> held;
    if (w.running) held[w.running->coordinator].ids.push_back(w.running->id);
    for (const auto& j : w.waiting) held[j.coordinator].ids.push_back(j.id);
    for (auto& [number, alive] : held) coordinators_[number].tell(name_of(i), std::move(alive));
  }
}

// --- failures --------------------------------------------------------------------------------------------------------

void farm::fail_worker() {
  after(exponential(3600 / shape_.worker_failures_per_hour), [this] { fail_worker(); });
  const auto i = pick(workers_.size());
  auto& w = workers_[i];
  if (!w.up) return;
  ++out_.worker_failures;
  w.up = false;
  w.waiting.clear();
  if (w.running) stop_running(w);
  for (auto& c : coordinators_) {
    after(silence_seconds, [this, &c, i, born = c.life] {
      if (c.up && c.life == born) c.go(name_of(i));
    });
  }
  after(worker_away_seconds, [this, i] {
    workers_[i].up = true;
    for (auto& c : coordinators_) {
      if (c.up) greet(c, i);
    }
  });
}

// Its workers let go of its jobs, its clients ask the next coordinator by hash. Its disk is there when it is back.
void farm::fail_coordinator() {
  after(exponential(3600 / shape_.coordinator_failures_per_hour), [this] { fail_coordinator(); });
  if (std::any_of(coordinators_.begin(), coordinators_.end(), [](const auto& c) { return !c.up; })) return;
  auto& c = coordinators_[pick(coordinators_.size())];
  ++out_.coordinator_failures;
  c.up = false;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    auto& w = workers_[i];
    std::erase_if(w.waiting, [&](const job& j) { return j.coordinator == c.number; });
    if (w.running && w.running->coordinator == c.number) stop_running(w);
    run_next(i);
  }
  for (const auto& [id, client] : std::exchange(c.clients, {})) ask(id, client.lookups);
  after(coordinator_away_seconds, [this, &c] {
    c.start();
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      if (workers_[i].up) greet(c, i);
    }
  });
}

}  // namespace fxfarm::bench
