// A coordinator under thousands of random events, the honest and the others: its books agree after each, no slot is
// given twice, everyone is answered, and nothing is left over.

#include "actors/coordinator_core.hpp"
#include "doubles.hpp"
#include "runtime/keys.hpp"

#include <random>

#include <nlohmann/json.hpp>

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

constexpr const char* salt = "salt";
constexpr unsigned graphs = 8;

class walk final : public coordinator_port {
public:
  explicit walk(unsigned seed) : random_(seed) {}

  void step() {
    switch (pick(19)) {
      case 0:
        return client_comes_or_goes();
      case 1:
      case 2:
      case 3:
        return look_up();
      case 4:
      case 5:
        return send_graph();
      case 6:
        return release();
      case 7:
        return worker_comes_or_goes();
      case 8:
        return offer();
      case 9:
      case 10:
        return finish();
      case 11:
        return fail();
      case 12:
        return keep_leases();
      case 13:
        return answer_store();
      case 14:
        return talk_nonsense();
      case 15:
        return bring_job();
      case 16:
      case 17:
        return want_kernel();
      default:
        now_ += std::chrono::milliseconds(pick(5'000));
        core_.tick(now_);
    }
  }

  std::string wrong() const { return core_.inconsistency(); }

  // Everybody does their part until nothing is in flight.
  void settle_down() {
    for (const auto& id : std::set<std::string>(workers_gone_to_bad_))
      say(id, net::worker_offer{"", {}, 0, 0, {}, true, ""});
    for (const char* torch : {"2.12.0", "2.13.0"}) {
      const auto id = std::string("good ") + torch;
      core_.handle(came(id, "worker"), now_);
      workers_[id] = {};
      give_slots(id, gpu_machine(torch), 4);
    }
    for (int round = 0; core_.busy(); ++round) {
      ASSERT_LT(round, 300) << "something waits for ever";
      while (!reads_.empty() || !writes_.empty()) answer_store(true);
      while (!asked_.empty()) send_graph(true);
      for (const auto& [attempt, job] : std::map(live_)) {
        if (!job.worker.starts_with("good")) continue;
        live_.erase(attempt);
        say(job.worker, net::job_done{attempt, job.stage_key, {}}, some_bytes());
      }
      now_ += 1s;
      core_.tick(now_);
      ASSERT_EQ(wrong(), "");
    }
    for (const auto& [peer, stage_key] : unanswered_) ADD_FAILURE() << peer << " waits for ever for " << stage_key;
  }

  void leave() {
    for (const auto& id : clients_) core_.handle(went(id), now_);
    for (const auto& [id, slots] : workers_) core_.handle(went(id), now_);
    EXPECT_EQ(wrong(), "");
    EXPECT_TRUE(core_.idle());
    core_.handle(came("operator", "operator"), now_);
    core_.handle(said("operator", net::ask{1, "status", {}}), now_);
    const auto status = nlohmann::json::parse(answer_);
    EXPECT_EQ(status["graph_bytes"], 0);
    EXPECT_TRUE(status["workers"].empty());
    for (const auto& [state, count] : status["jobs"].items()) EXPECT_EQ(count, 0) << state;
  }

  unsigned kernels_lent = 0;

private:
  struct attempt {
    std::string worker;
    std::string stage_key;
  };

  void send(const net::peer_id& to, net::message what, blob) override {
    if (const auto* m = std::get_if<net::need_graph>(&what)) asked_.emplace_back(to, m->graph_key);
    if (const auto* m = std::get_if<net::stage_ready>(&what)) unanswered_.erase({to, m->stage_key});
    if (const auto* m = std::get_if<net::stage_failed>(&what)) {
      unanswered_.erase({to, m->stage_key});
      EXPECT_EQ(m->retry_ms > 0, m->code == "busy");
    }
    if (const auto* m = std::get_if<net::cancel_job>(&what)) live_.erase(m->id);
    if (const auto* m = std::get_if<net::answer>(&what)) answer_ = m->document;
    if (const auto* m = std::get_if<net::job>(&what)) {
      const auto at_work = [&](auto&& same) { return std::count_if(live_.begin(), live_.end(), same); };
      EXPECT_EQ(at_work([&](const auto& l) { return l.second.stage_key == m->stage_key; }), 0) << "two compile it";
      kernels_lent += m->kernel;
      live_[m->id] = {to, m->stage_key};
      seen_.push_back({m->id, {to, m->stage_key}});
      EXPECT_LE(at_work([&](const auto& l) { return l.second.worker == to; }), workers_.at(to))
          << "more than its slots";
      if (!m->measures) return;
      measuring_.insert(m->id);
      EXPECT_LE(at_work([&](const auto& l) { return l.second.worker == to && measuring_.contains(l.first); }),
                gpus_.at(to))
          << "more that measure than it has GPUs";
    }
  }
  std::shared_ptr<const stored> find_in_memory(const std::string&) override { return nullptr; }
  void read_store(const std::string& key) override { reads_.push_back(key); }
  void write_store(const std::string& key, stored) override { writes_.push_back(key); }
  void remove_stored(const std::string&) override {}

  void say(const net::peer_id& from, net::message what, blob attachment = nullptr) {
    core_.handle(said(from, std::move(what), std::move(attachment)), now_);
  }

  void client_comes_or_goes() {
    const auto id = "c" + std::to_string(pick(6));
    if (clients_.insert(id).second) return core_.handle(came(id, "client"), now_);
    clients_.erase(id);
    std::erase_if(unanswered_, [&](const auto& u) { return u.first == id; });
    std::erase_if(asked_, [&](const auto& a) { return a.first == id; });
    core_.handle(went(id), now_);
  }

  void look_up() {
    const auto* id = some(clients_);
    if (!id) return;
    net::lookup m;
    m.graph_key = graph_key(pick(graphs));
    m.target = some_machine();
    m.space = "s" + std::to_string(pick(3));
    m.stages = pick(2) == 0 ? stages({"default"}) : stages({"default", "max-autotune", "other"});
    if (m.stages.size() > 1) m.stages[1].options["max_autotune"] = "true";
    for (const auto& stage : m.stages) {
      const auto key = make_stage_key(m.graph_key, m.target, stage, salt);
      unanswered_.emplace(*id, key);
      keys_.insert(key);
      if (pick(10) == 0) m.refused.push_back(key);
    }
    say(*id, std::move(m));
  }

  // To a question of some time ago, or without one.
  void send_graph(bool as_asked = false) {
    if (asked_.empty()) {
      if (const auto* id = some(clients_)) say(*id, net::submit{graph_key(pick(graphs))}, some_bytes());
      return;
    }
    const auto at = asked_.begin() + pick(static_cast<unsigned>(asked_.size()));
    const auto [peer, graph] = *at;
    if (as_asked || pick(4) != 0) asked_.erase(at);
    say(peer, net::submit{graph}, pick(8) == 0 && !as_asked ? nullptr : some_bytes(std::string(1 + pick(40), 'g')));
  }

  void release() {
    const auto* id = some(clients_);
    const auto* key = some(keys_);
    if (!id || !key) return;
    unanswered_.erase({*id, *key});
    say(*id, net::release{{*key, "made up"}});
  }

  void worker_comes_or_goes() {
    const auto id = "w" + std::to_string(pick(5));
    if (!workers_.contains(id)) {
      core_.handle(came(id, "worker"), now_);
      workers_[id] = 0;
      return;
    }
    workers_.erase(id);
    workers_gone_to_bad_.erase(id);
    std::erase_if(live_, [&](const auto& l) { return l.second.worker == id; });
    core_.handle(went(id), now_);
  }

  void give_slots(const std::string& id, platform runs_on, unsigned slots) {
    net::worker_offer m;
    m.runs_on = std::move(runs_on);
    m.slots = slots;
    workers_.at(id) = slots;
    gpus_[id] = 1;
    say(id, std::move(m));
  }

  // Fewer slots than it has jobs, none, draining, starting again, jobs of others, jobs that never were.
  void offer() {
    const auto id = some_worker();
    if (id.empty()) return;
    workers_gone_to_bad_.insert(id);
    net::worker_offer m;
    if (pick(4) != 0) m.runs_on = some_machine();
    m.gpus = pick(3);
    m.gpus_taken = pick(3);
    m.memory_bytes = std::uint64_t{pick(4)} << 30;
    m.memory_taken = std::uint64_t{pick(3)} << 29;
    m.slots = pick(4);
    m.taken = pick(3);
    m.draining = pick(6) == 0;
    m.can_help = pick(3) != 0;
    m.can_be_kept = pick(2) == 0;
    m.heeds = pick(4);
    if (pick(6) == 0) m.problem = "engine_start: no torch";
    if (!seen_.empty()) m.running = {any_attempt().first, "made up"};
    // Slots that it takes back are given to nobody any longer, and jobs in them are not called too many.
    workers_.at(id) = std::max<long>(
        m.slots, std::count_if(live_.begin(), live_.end(), [&](const auto& l) { return l.second.worker == id; }));
    gpus_[id] = std::max<long>(m.gpus, std::count_if(live_.begin(), live_.end(), [&](const auto& l) {
                                 return l.second.worker == id && measuring_.contains(l.first);
                               }));
    if (m.gpus == 0 && m.runs_on.device != "cpu") gpus_[id] = std::max(gpus_[id], 1L);
    say(id, std::move(m));
  }

  // What another coordinator had given to it, or so it says.
  void bring_job() {
    const auto id = some_worker();
    if (id.empty()) return;
    net::job m;
    m.id = "brought " + std::to_string(seen_.size());
    m.graph_key = graph_key(pick(graphs));
    m.stage = stages({"default"}).front();
    m.target = some_machine();
    m.measures = pick(2) == 0;
    m.memory_bytes = std::uint64_t{pick(4)} << 29;
    m.stage_key = pick(8) == 0 ? hex64('f') : make_stage_key(m.graph_key, m.target, m.stage, salt);
    m.attempts = pick(4);
    live_[m.id] = {id, m.stage_key};
    seen_.push_back({m.id, {id, m.stage_key}});
    say(id, net::job_held{m});
    workers_.at(id) += live_.contains(m.id);
    if (m.measures) measuring_.insert(m.id);
    gpus_[id] += live_.contains(m.id) && m.measures;
    if (pick(4) == 0) say(id, net::job_held{m});
  }

  // Of a job, of a kernel, or of what has ended long since.
  void want_kernel() {
    if (seen_.empty()) return;
    const auto [id, job] = pick(4) == 0 ? any_attempt() : live_attempt();
    const auto from = pick(10) == 0 ? some_worker() : job.worker;
    if (!workers_.contains(from)) return;
    const auto source = some_bytes("source " + std::to_string(++kernels_wanted_));
    say(from, net::kernel_wanted{id, pick(20) == 0 ? "" : "k"}, pick(20) == 0 ? nullptr : source);
  }

  void finish() {
    if (seen_.empty()) return;
    const auto [id, job] = pick(4) == 0 ? any_attempt() : live_attempt();
    const auto from = pick(10) == 0 ? some_worker() : job.worker;
    if (!workers_.contains(from)) return;
    if (from == job.worker) live_.erase(id);
    net::job_done m{id, job.stage_key, {{"lower", 1.0}}};
    m.memory_bytes = std::uint64_t{pick(8)} << 28;
    say(from, std::move(m), pick(10) == 0 ? nullptr : some_bytes());
  }

  void fail() {
    if (seen_.empty()) return;
    const auto [id, job] = pick(4) == 0 ? any_attempt() : live_attempt();
    const auto from = pick(10) == 0 ? some_worker() : job.worker;
    if (!workers_.contains(from)) return;
    if (from == job.worker) live_.erase(id);
    constexpr const char* codes[] = {"busy", "busy", "engine_crashed", "compile_failed", "none", "no such code"};
    say(from, net::job_failed{id, job.stage_key, codes[pick(6)], "why", std::uint64_t{pick(8)} << 28});
  }

  void keep_leases() {
    for (const auto& [id, job] : std::map(live_)) {
      if (pick(4) != 0) say(job.worker, net::job_alive{{id, "made up"}});
    }
  }

  void answer_store(bool miss = false) {
    if (!reads_.empty() && (writes_.empty() || pick(2) == 0)) {
      const auto at = reads_.begin() + pick(static_cast<unsigned>(reads_.size()));
      const auto key = *at;
      reads_.erase(at);
      const auto luck = miss ? 9 : pick(10);
      result<std::optional<stored>> found{std::optional<stored>()};
      if (luck == 0) found = std::optional<stored>({some_bytes(), {}, "w", "disk"});
      if (luck == 1) found = error{errc::io, "disk"};
      core_.store_read(key, found, now_);
    } else if (!writes_.empty()) {
      const auto key = writes_.back();
      writes_.pop_back();
      core_.store_written(key, pick(100) == 0 ? result<void>(errc::io, "disk full") : result<void>(), now_);
    }
  }

  void talk_nonsense() {
    const auto worker = some_worker();
    const auto* client = some(clients_);
    if (!worker.empty()) say(worker, net::lookup{});
    if (client) say(*client, net::job_done{"made up", "made up", {}}, some_bytes());
    if (client) say(*client, net::worker_offer{});
    core_.store_read("made up", std::optional<stored>(), now_);
    core_.store_written("made up", {}, now_);
    say("never came", net::release{});
  }

  platform some_machine() {
    const std::string torch = pick(3) == 0 ? "2.12.0" : "2.13.0";
    return pick(2) == 0 ? machine(torch) : gpu_machine(torch);
  }
  unsigned pick(unsigned below) { return std::uniform_int_distribution<unsigned>(0, below - 1)(random_); }
  const std::string* some(const std::set<std::string>& of) {
    return of.empty() ? nullptr : &*std::next(of.begin(), pick(static_cast<unsigned>(of.size())));
  }
  std::string some_worker() {
    return workers_.empty() ? "" : std::next(workers_.begin(), pick(static_cast<unsigned>(workers_.size())))->first;
  }
  std::pair<std::string, attempt> any_attempt() { return seen_[pick(static_cast<unsigned>(seen_.size()))]; }
  std::pair<std::string, attempt> live_attempt() {
    if (live_.empty()) return seen_.back();
    return *std::next(live_.begin(), pick(static_cast<unsigned>(live_.size())));
  }
  static std::string graph_key(unsigned n) { return hex64(static_cast<char>('0' + n)); }

  static coordinator_settings settings() {
    coordinator_settings s;
    s.id = "farm";
    s.salt = salt;
    s.graph_bytes_max = 120;
    s.jobs.jobs_max = 16;
    s.jobs.jobs_per_client_max = 8;
    s.jobs.jobs_per_account_max = 6;
    s.accounts = {90, 20};
    s.jobs.subscribers_max = 4;
    s.jobs.deadline = 60s;
    s.jobs.failure_memory = 20s;
    s.jobs.failures_max = 4;
    return s;
  }

  std::mt19937 random_;
  time_point now_{1000s};
  std::vector<std::string> reads_, writes_;
  std::vector<std::pair<net::peer_id, std::string>> asked_;  // peer and graph
  std::set<std::string> clients_;
  std::map<std::string, long> workers_;        // and how many jobs each may have
  std::map<std::string, long> gpus_;           // likewise, of those that measure
  std::set<std::string> measuring_;            // attempts that do
  std::set<std::string> workers_gone_to_bad_;  // that may have offered what they do not have
  std::set<std::pair<net::peer_id, std::string>> unanswered_;
  std::set<std::string> keys_;
  std::map<std::string, attempt> live_;  // attempts that were given and neither ended nor taken back
  std::vector<std::pair<std::string, attempt>> seen_;
  std::string answer_;
  unsigned kernels_wanted_ = 0;
  monitoring::metrics metrics_{"1.2.3", "coordinator"};
  coordinator_core core_{
      settings(), *this, metrics_.coordinator(), {[] { return std::map<std::string, double>(); }, [] {}}, now_};
};

}  // namespace

TEST(coordinator_walk, books_agree_at_every_step_and_nothing_is_left_over) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    walk w(seed);
    for (int i = 0; i < 10'000; ++i) {
      w.step();
      ASSERT_EQ(w.wrong(), "") << "step " << i;
      if (::testing::Test::HasFailure()) FAIL() << "step " << i;
    }
    EXPECT_GT(w.kernels_lent, 0u);
    w.settle_down();
    w.leave();
    if (::testing::Test::HasFailure()) return;
  }
}
