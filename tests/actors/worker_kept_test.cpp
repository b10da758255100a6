// A worker that a coordinator keeps for a job which waits for its memory: what it tells the others, and coordinators
// that share it.

#include "actors/coordinator_core.hpp"
#include "runtime/keys.hpp"
#include "worker_harness.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

const net::peer_id other = "tcp://other", third = "tcp://b";

class kept_worker : public worker_test {
protected:
  void start_for_three() {
    start(2);
    for (std::size_t slot = 0; slot < 2; ++slot) engine_ready(slot);
    for (const auto& coordinator : {other, third}) deliver(worker, came(coordinator));
  }
  void keep(const net::peer_id& by, bool kept = true, std::uint64_t number = 1) {
    deliver(worker, said(by, net::keep_worker{kept, number}));
  }
  void last_job(const std::string& id, const net::peer_id& from, std::uint64_t ends_keep) {
    net::job m;
    m.id = id;
    m.ends_keep = ends_keep;
    deliver(worker, said(from, m, some_bytes("graph")));
  }
  // Of its two slots, as each of the three has heard last.
  std::vector<unsigned> taken() {
    for (const auto& coordinator : {farm, other, third}) {
      const auto offers = link->take<net::worker_offer>(coordinator);
      if (!offers.empty()) last[coordinator] = offers.back();
    }
    return {last[farm].taken, last[other].taken, last[third].taken};
  }
  using slots = std::vector<unsigned>;

  std::map<net::peer_id, net::worker_offer> last;
};

}  // namespace

TEST_F(kept_worker, has_no_slots_for_others) {
  start_for_three();
  EXPECT_EQ(taken(), (slots{0, 0, 0}));
  EXPECT_TRUE(last[farm].can_be_kept);
  keep(farm);
  EXPECT_EQ(taken(), (slots{0, 2, 2}));
  job("1");
  EXPECT_EQ(taken(), (slots{0, 2, 2}));
  keep(farm, false);
  EXPECT_EQ(taken(), (slots{0, 1, 1}));
}

TEST_F(kept_worker, heeds_those_that_ask_one_after_the_other) {
  start_for_three();
  keep(other);
  keep(farm);
  keep(third);
  keep(other);
  EXPECT_EQ(taken(), (slots{2, 0, 2}));
  keep(third, false);
  EXPECT_EQ(taken(), (slots{2, 0, 2}));
  keep(other, false);
  EXPECT_EQ(taken(), (slots{0, 2, 2}));
  keep(farm, false);
  EXPECT_EQ(taken(), (slots{0, 0, 0})) << "each was counted once";
}

TEST_F(kept_worker, is_free_when_the_coordinator_has_gone) {
  start_for_three();
  keep(other);
  EXPECT_EQ(taken(), (slots{2, 0, 2}));
  deliver(worker, went(other));
  EXPECT_EQ(taken(), (slots{0, 0, 0}));
}

TEST_F(kept_worker, is_free_when_the_coordinator_begins_anew) {
  start_for_three();
  keep(other);
  EXPECT_EQ(taken(), (slots{2, 0, 2}));
  deliver(worker, came(other));
  EXPECT_EQ(taken(), (slots{0, 0, 0}));
}

TEST_F(kept_worker, says_which_keep_it_heeds) {
  start_for_three();
  const auto heeds = [&] {
    taken();
    return std::vector{last[farm].heeds, last[other].heeds, last[third].heeds};
  };
  keep(farm, true, 7);
  keep(other, true, 4);
  EXPECT_EQ(heeds(), (std::vector<std::uint64_t>{7, 0, 0}));
  keep(farm, false, 7);
  EXPECT_EQ(heeds(), (std::vector<std::uint64_t>{0, 4, 0}));
}

TEST_F(kept_worker, is_let_go_by_the_job_that_it_was_kept_for_once_that_is_counted) {
  start_for_three();
  keep(farm, true, 7);
  last_job("of an older one", farm, 6);
  EXPECT_EQ(taken(), (slots{0, 2, 2}));
  link->sent.clear();
  last_job("1", farm, 7);
  const auto said_to_other = link->take<net::worker_offer>(other);
  EXPECT_TRUE(said_to_other.empty()) << "both slots are taken, as before";
  outcome(0, "of an older one");
  EXPECT_EQ(taken(), (slots{0, 1, 1}));
}

TEST_F(kept_worker, is_let_go_by_that_job_though_it_is_refused) {
  start_for_three();
  keep(farm, true, 7);
  deliver(worker, said(farm, net::set_drain{true}));
  last_job("1", farm, 7);
  deliver(worker, said(farm, net::set_drain{false}));
  EXPECT_EQ(taken(), (slots{0, 0, 0}));
}

TEST_F(kept_worker, has_a_place_at_the_end_for_one_that_asks_again_before_its_job_has_come) {
  start_for_three();
  keep(farm, true, 1);
  keep(other, true, 1);
  keep(farm, true, 2);
  EXPECT_EQ(taken(), (slots{0, 2, 2})) << "until that job is counted";
  last_job("1", farm, 1);
  EXPECT_EQ(taken(), (slots{2, 1, 2}));
  keep(other, false, 1);
  EXPECT_EQ(taken(), (slots{0, 2, 2}));
  EXPECT_EQ(last[farm].heeds, 2u);
  keep(farm, false, 2);
  EXPECT_EQ(taken(), (slots{0, 1, 1}));
}

TEST_F(kept_worker, has_no_more_places_for_one_coordinator_than_slots) {
  start_for_three();
  for (std::uint64_t number = 1; number <= 5; ++number) keep(farm, true, number);
  taken();
  EXPECT_EQ(last[farm].heeds, 4u);
  keep(farm, false, 4);
  keep(farm, false, 5);
  EXPECT_EQ(taken(), (slots{0, 0, 0}));
}

TEST_F(kept_worker, is_kept_no_longer_than_may_be) {
  start_for_three();
  keep(farm);
  const auto renewal = 5s;
  for (auto passed = 0s; passed + renewal < limits::worker_kept_max; passed += renewal) pass(renewal);
  EXPECT_EQ(taken(), (slots{0, 2, 2}));
  keep(other);
  pass(renewal);
  EXPECT_EQ(taken(), (slots{2, 0, 2})) << "the next one's time begins now";
  for (auto passed = 0s; passed < limits::worker_kept_max; passed += renewal) pass(renewal);
  EXPECT_EQ(taken(), (slots{0, 0, 0}));
}

namespace {

constexpr std::uint64_t GiB = 1 << 30;

// A coordinator of the worker, with a client, and without a store.
class one_side final : public coordinator_port {
public:
  one_side(net::peer_id endpoint, monitoring::coordinator_probe& probe)
      : endpoint(std::move(endpoint)), core({}, *this, probe, {}, now) {
    core.handle(came("client", "client"), now);
    core.handle(came("w", "worker"), now);
  }
  void send(const net::peer_id& to, net::message what, blob attachment) override {
    if (to == "w") out.push_back(said(endpoint, std::move(what), std::move(attachment)));
  }
  std::shared_ptr<const stored> find_in_memory(const std::string&) override { return nullptr; }
  void read_store(const std::string& key) override { reads.push_back(key); }
  void write_store(const std::string& key, stored) override { writes.push_back(key); }
  void remove_stored(const std::string&) override {}

  void hears(net::message what, blob attachment = nullptr, const net::peer_id& from = "w") {
    core.handle(said(from, std::move(what), std::move(attachment)), now);
    for (const auto& key : std::exchange(writes, {})) core.store_written(key, {}, now);
    EXPECT_EQ(core.inconsistency(), "");
  }
  void wants(unsigned n) {
    net::lookup m;
    m.graph_key = std::string(56, '0') + std::to_string(10'000'000 + n);
    m.name = name_of(n);
    m.stages = stages({"default"});
    m.target = machine();
    const auto graph_key = m.graph_key;
    hears(std::move(m), nullptr, "client");
    for (const auto& key : std::exchange(reads, {})) core.store_read(key, std::optional<stored>(), now);
    hears(net::submit{graph_key}, some_bytes("graph"), "client");
  }
  std::string name_of(unsigned n) const { return endpoint + " " + std::to_string(n); }

  net::peer_id endpoint;
  time_point now{1000s};
  std::vector<net::inbound> out;
  std::vector<std::string> reads, writes;
  coordinator_core core;
};

// One worker with four slots and 4 GiB; each job takes one, until more is known of it.
class shared_by_three : public kept_worker {
protected:
  void SetUp() override {
    memory_bytes = 4 * GiB;
    start(4);
    for (std::size_t slot = 0; slot < 4; ++slot) engine_ready(slot);
    for (const auto& coordinator : {other, third}) deliver(worker, came(coordinator));
    settle();
  }
  // Until nobody has anything to say. As in a session a job comes after whatever has no attachment, also when that was
  // sent later.
  void settle() {
    for (bool news = true; std::exchange(news, false);) {
      for (auto& m : std::exchange(link->sent, {})) {
        for (auto* side : {&a, &b, &c}) {
          if (side->endpoint == m.to) side->hears(m.what, m.attachment);
        }
        news = true;
      }
      for (auto* side : {&a, &b, &c}) {
        for (auto& m : std::exchange(side->out, {})) {
          if (const auto* kept = std::get_if<net::keep_worker>(&std::get<net::message>(m.event)); kept && kept->kept)
            asked.push_back(side->endpoint);
          m.attachment ? late.push_back(m) : deliver(worker, m);
          news = true;
        }
      }
      if (news || late.empty()) continue;
      deliver(worker, late.front());
      late.pop_front();
      news = true;
    }
  }
  bool runs(const std::string& name) const {
    return std::any_of(given.begin(), given.end(), [&](const auto& g) { return g.second.name == name; });
  }
  void end(std::size_t which, std::optional<error> why = {}, std::uint64_t had = 0) {
    const auto [slot, job] = given.at(which);
    given.erase(given.begin() + static_cast<std::ptrdiff_t>(which));
    tell(worker, engine_outcome{slot, job.id, why ? nullptr : some_bytes("artifact"), {}, why, had});
    settle();
  }
  void end_oldest() { end(0); }
  // The side's job 0 has failed, and wants 3 GiB from now on.
  void needs_more(one_side& side) {
    const auto at =
        std::find_if(given.begin(), given.end(), [&](const auto& g) { return g.second.name == side.name_of(0); });
    ASSERT_NE(at, given.end());
    end(static_cast<std::size_t>(at - given.begin()), error{errc::engine_crashed, "why"}, 3 * GiB);
  }
  // The second one always has small jobs to begin; how many jobs end until that one begins.
  unsigned ends_before(const std::string& name) {
    unsigned ended = 0;
    for (; !runs(name) && ended < 100 && !given.empty(); ++ended) {
      b.wants(++made);
      end_oldest();
    }
    return ended;
  }
  std::uint64_t memory_given() const {
    std::uint64_t sum = 0;
    for (const auto& [slot, job] : given) sum += job.name == a.name_of(0) || job.name == c.name_of(0) ? 3 * GiB : GiB;
    return sum;
  }

  monitoring::metrics of_a{"1", "coordinator"}, of_b{"1", "coordinator"}, of_c{"1", "coordinator"};
  one_side a{farm, of_a.coordinator()}, b{other, of_b.coordinator()}, c{third, of_c.coordinator()};
  std::deque<net::inbound> late;
  std::vector<net::peer_id> asked;  // who has kept the worker, in that order
  unsigned made = 0;
};

}  // namespace

TEST_F(shared_by_three, has_its_memory_freed_for_a_job_that_the_other_ones_jobs_overtake) {
  a.wants(0);
  settle();
  ASSERT_TRUE(runs(a.name_of(0)));
  for (int i = 0; i < 8; ++i) b.wants(++made);
  settle();
  ASSERT_EQ(given.size(), 4u) << "GiB for each";
  needs_more(a);
  ASSERT_FALSE(runs(a.name_of(0))) << "the other one's jobs have taken what it needs now";
  EXPECT_LE(ends_before(a.name_of(0)), limits::job_overtakes_max + 4) << "what ran when it was kept has ended, too";
  ASSERT_TRUE(runs(a.name_of(0)));
  EXPECT_EQ(memory_given(), 4 * GiB) << "nobody is given what was freed before the job is counted";
  end_oldest();
  EXPECT_TRUE(runs(a.name_of(0)));
  EXPECT_EQ(given.size(), 2u) << "and one of the others beside it";
}

TEST_F(shared_by_three, is_kept_for_two_of_them_one_after_the_other) {
  a.wants(0);
  c.wants(0);
  settle();
  for (int i = 0; i < 8; ++i) b.wants(++made);
  settle();
  needs_more(a);
  needs_more(c);
  ASSERT_FALSE(runs(a.name_of(0)) || runs(c.name_of(0)));
  unsigned ended = 0;
  std::vector<net::peer_id> begun;
  while (begun.size() < 2 && ended < 200 && !given.empty()) {
    b.wants(++made);
    end_oldest();
    ++ended;
    for (const auto* side : {&a, &c}) {
      const bool known = std::find(begun.begin(), begun.end(), side->endpoint) != begun.end();
      if (!known && runs(side->name_of(0))) begun.push_back(side->endpoint);
    }
    if (!asked.empty()) {
      EXPECT_LE(memory_given(), 4 * GiB);
    }
  }
  EXPECT_EQ(asked.size(), 2u);
  EXPECT_EQ(begun, asked) << "in the order in which they have asked";
  EXPECT_LE(ended, limits::job_overtakes_max + 3 * 4) << "what runs ends before each of them";
}
