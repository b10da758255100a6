// A worker that a coordinator keeps for a job which waits for its memory: what it tells the others, and two
// coordinators that share it.

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
  void keep(const net::peer_id& by, bool kept = true) { deliver(worker, said(by, net::keep_worker{kept})); }
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

class shared_by_two : public kept_worker {
protected:
  void SetUp() override {
    memory_bytes = 4 * GiB;
    start(4);
    for (std::size_t slot = 0; slot < 4; ++slot) engine_ready(slot);
    deliver(worker, came(other));
    settle();
  }
  // Until nobody has anything to say.
  void settle() {
    for (bool news = true; std::exchange(news, false);) {
      for (auto& m : std::exchange(link->sent, {})) {
        for (auto* side : {&a, &b}) {
          if (side->endpoint == m.to) side->hears(m.what, m.attachment);
        }
        news = true;
      }
      for (auto* side : {&a, &b}) {
        for (auto& m : std::exchange(side->out, {})) {
          deliver(worker, m);
          news = true;
        }
      }
    }
  }
  bool runs(const std::string& name) const {
    return std::any_of(given.begin(), given.end(), [&](const auto& g) { return g.second.name == name; });
  }
  void end_oldest(std::optional<error> why = {}, std::uint64_t had = 0) {
    const auto [slot, job] = given.front();
    given.erase(given.begin());
    tell(worker, engine_outcome{slot, job.id, why ? nullptr : some_bytes("artifact"), {}, why, had});
    settle();
  }

  monitoring::metrics of_a{"1", "coordinator"}, of_b{"1", "coordinator"};
  one_side a{farm, of_a.coordinator()}, b{other, of_b.coordinator()};
};

}  // namespace

TEST_F(shared_by_two, has_its_memory_freed_for_a_job_that_the_other_ones_jobs_overtake) {
  unsigned made = 0;
  a.wants(0);
  settle();
  ASSERT_TRUE(runs(a.name_of(0)));
  for (int i = 0; i < 8; ++i) b.wants(++made);
  settle();
  ASSERT_EQ(given.size(), 4u) << "GiB for each";
  end_oldest(error{errc::engine_crashed, "why"}, 3 * GiB);
  ASSERT_FALSE(runs(a.name_of(0))) << "the other one's jobs have taken what it needs now";
  unsigned ended = 0;
  for (; !runs(a.name_of(0)) && ended < 100 && !given.empty(); ++ended) {
    b.wants(++made);
    end_oldest();
  }
  EXPECT_TRUE(runs(a.name_of(0)));
  EXPECT_LE(ended, limits::job_overtakes_max + 4) << "what ran when it was kept has ended, too";
  end_oldest();
  EXPECT_TRUE(runs(a.name_of(0)));
  EXPECT_EQ(given.size(), 2u) << "and one of the others beside it";
}
