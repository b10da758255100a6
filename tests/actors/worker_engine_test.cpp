// A worker with a real engine process, as a coordinator sees it.

#include "actors/system.hpp"
#include "actors/worker.hpp"
#include "doubles.hpp"
#include "engine_script.hpp"

#include <condition_variable>
#include <mutex>

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;  // only a broken test waits so long
const std::string farm = "tcp://farm";

// The coordinators' ends of the worker's links.
class far_ends final : public net::connector {
public:
  void send(const net::peer_id& to, net::message what, blob attachment) override {
    std::lock_guard lock(mutex_);
    came_.send(to, std::move(what), std::move(attachment));
    changed_.notify_all();
  }
  void drop(const net::peer_id&, std::string) override {}
  void connect(std::string) override {}
  void disconnect(std::string) override {}

  template <class M>
  M next(blob* attachment = nullptr) {
    std::unique_lock lock(mutex_);
    auto& all = came_.sent;
    auto found = all.end();
    const bool there = changed_.wait_for(lock, patience, [&] {
      found =
          std::find_if(all.begin(), all.end(), [](const sent_message& s) { return std::holds_alternative<M>(s.what); });
      return found != all.end();
    });
    if (!there) {
      ADD_FAILURE() << "nothing came";
      return {};
    }
    auto m = std::get<M>(found->what);
    if (attachment) *attachment = found->attachment;
    all.erase(found);
    return m;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  outbox came_;
};

class worker_engine_test : public ::testing::Test {
protected:
  void SetUp() override {
    worker_options o;
    o.name = "w";
    o.link = link;
    o.engine = engine_that("serve()");
    o.probe = &metrics.worker();
    worker = system.spawn(worker_behavior, std::move(o));
    caf::anon_send(worker, farm_found{{farm}, {}});
    hear(came(farm));
    while (link->next<net::worker_offer>().slots == 0 && !HasFailure()) {
    }
  }
  void TearDown() override {
    caf::anon_send(worker, drain{true});
    worker = nullptr;
    system.await_all_actors_done();
  }
  void hear(net::inbound in) {
    caf::anon_send(worker, link_events{std::make_shared<const net::inbound_batch>(net::inbound_batch{std::move(in)})});
  }
  void job(const std::string& id) {
    net::job m;
    m.id = id;
    m.stage_key = "key";
    m.deadline_ms = 60'000;
    hear(said(farm, m, some_bytes("graph")));
  }
  void expect_done() {
    blob artifact;
    const auto done = link->next<net::job_done>(&artifact);
    EXPECT_EQ(done.id, "good");
    EXPECT_EQ(done.stage_key, "key");
    EXPECT_EQ(done.phases, (std::map<std::string, double>{{"lower", 0.25}}));
    ASSERT_TRUE(artifact);
    EXPECT_EQ(text_of(*artifact), "artifact");
  }

  monitoring::metrics metrics{"1", "worker"};
  std::shared_ptr<far_ends> link = std::make_shared<far_ends>();
  system_config config{2};
  caf::actor_system system{config};
  worker_actor worker;
};

}  // namespace

TEST_F(worker_engine_test, a_job_comes_back_as_an_artifact_with_its_phases) {
  for (int i = 0; i < 2; ++i) {
    job("good");
    expect_done();
  }
}

TEST_F(worker_engine_test, a_job_that_fails_or_kills_its_engine_leaves_the_worker_at_work) {
  struct {
    const char* job;
    const char* code;
  } const cases[] = {{"bad", "compile_failed"}, {"crash", "engine_crashed"}};
  for (const auto& c : cases) {
    job(c.job);
    EXPECT_EQ(link->next<net::job_failed>().code, c.code);
    job("good");
    expect_done();
  }
}

TEST_F(worker_engine_test, a_cancelled_job_ends_and_the_slot_goes_on) {
  // From here on the engine is ready, so that the next job runs at once: one that waits is dropped without a word.
  job("good");
  expect_done();
  job("hang");
  hear(said("tcp://other", net::cancel_job{"hang", "not theirs"}));
  hear(said(farm, net::cancel_job{"another", "not this one"}));
  hear(said(farm, net::cancel_job{"hang", "nobody waits"}));
  const auto failed = link->next<net::job_failed>();
  EXPECT_EQ(failed.code, "cancelled");
  EXPECT_NE(failed.reason.find("nobody waits"), std::string::npos) << failed.reason;
  job("good");
  expect_done();
}
