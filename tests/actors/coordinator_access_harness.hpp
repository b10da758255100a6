// A coordinator where keys are on, without actors, sockets and a clock: peers with their keys and rights, and what it
// sends and stores.
#pragma once

#include "actors/coordinator_core.hpp"
#include "doubles.hpp"
#include "runtime/keys.hpp"
#include "tests/runtime/signers.hpp"

namespace fxfarm::actors {

inline const std::string secret(40, 's');

class coordinator_access_test : public ::testing::Test, public coordinator_port {
protected:
  void send(const net::peer_id& to, net::message what, blob attachment) override {
    out.send(to, std::move(what), std::move(attachment));
  }
  std::shared_ptr<const stored> find_in_memory(const std::string&) override { return nullptr; }
  void read_store(const std::string& key) override { reads.push_back(key); }
  void write_store(const std::string& key, stored what) override { writes.emplace_back(key, std::move(what)); }
  void remove_stored(const std::string&) override {}

  void tell(net::inbound in) {
    core->handle(in, now);
    ASSERT_EQ(core->inconsistency(), "");
  }
  void peer(const net::peer_id& id, const std::string& role, const std::string& space = "*", bool isolated = false,
            const std::string& key = {}) {
    auto in = came(id, role);
    auto& up = std::get<net::peer_up>(in.event);
    up.key = key.empty() ? id + "-key" : key;
    up.right = {role, space, {}, isolated};
    tell(in);
  }
  void worker(const net::peer_id& id) {
    peer(id, "worker");
    offer_slot(id);
  }
  void offer_slot(const net::peer_id& id) {
    net::worker_offer offer;
    offer.runs_on = machine();
    offer.slots = 1;
    tell(said(id, offer));
  }
  net::lookup question() const {
    net::lookup m;
    m.graph_key = graph;
    m.name = "model";
    m.stages = stages({"default"});
    m.target = machine();
    m.space = "what it says";
    return m;
  }
  // A coordinator with those signers, whose worker "w" has been given the job of client "a".
  void begin_job_under(testing_signers::signer_list& list) {
    signatures = list.check();
    core = farm(secret);
    worker("w");
    peer("a", "client", "team");
    ask("a");
    submit("a", "graph");
  }
  void ask(const net::peer_id& id) {
    tell(said(id, question()));
    for (const auto& key : std::exchange(reads, {})) core->store_read(key, std::optional<stored>(), now);
  }
  void submit(const net::peer_id& id, const std::string& payload) {
    tell(said(id, net::submit{graph}, some_bytes(payload)));
  }
  void finish(const net::peer_id& id, const net::job& job, std::string_view artifact) {
    tell(said(id, net::job_done{job.id, job.stage_key, {}}, some_bytes(artifact)));
    for (const auto& [key, what] : std::exchange(writes, {})) core->store_written(key, {}, now);
  }
  std::string key_of(const std::string& scope = {}) const {
    return make_stage_key(scoped_key(scope, graph), machine(), stages({"default"}).front(), "salt");
  }
  double counted(const char* name) { return metrics.snapshot()[name]; }
  // A lookup of another graph each, and what the client is told at once: "" or the reason.
  std::string ask_for(const net::peer_id& id, char digit) {
    auto m = question();
    m.graph_key = hex64(digit);
    tell(said(id, m));
    for (const auto& key : std::exchange(reads, {})) core->store_read(key, std::optional<stored>(), now);
    const auto told = out.take<net::stage_failed>(id);
    if (told.empty()) return {};
    EXPECT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].code, "busy");
    EXPECT_GE(told[0].retry_ms, 1000u);
    return told[0].reason;
  }
  std::unique_ptr<coordinator_core> farm(const std::string& lease_secret) {
    coordinator_settings s;
    s.jobs.jobs_per_account_max = jobs_per_key;
    s.accounts = accounts;
    s.id = "farm";
    s.salt = "salt";
    s.lease_secret = lease_secret;
    s.signatures = signatures;
    s.unix_seconds = [this] { return unix_seconds; };
    return std::make_unique<coordinator_core>(std::move(s), *this, metrics.coordinator(), statistics_access{}, now);
  }

  // A job for the graph, and who has it.
  std::pair<net::peer_id, net::job> job_sent() {
    for (const auto& s : out.sent) {
      if (const auto* j = std::get_if<net::job>(&s.what)) {
        std::pair found{s.to, *j};
        out.take<net::job>();
        return found;
      }
    }
    ADD_FAILURE() << "no job was sent";
    return {};
  }
  void bring(const net::peer_id& from, const net::job& job, artifact_signature by, std::string_view content = "code") {
    tell(said(from, net::job_done{job.id, job.stage_key, {}, std::move(by)}, some_bytes(content)));
  }

  std::shared_ptr<const signature_check> signatures;
  const std::string graph = hex64('a');
  std::size_t jobs_per_key = limits::jobs_per_key;
  account_limits accounts = {};
  time_point now{std::chrono::seconds(1000)};
  double unix_seconds = 1.8e9;
  outbox out;
  std::vector<std::string> reads;
  std::vector<std::pair<std::string, stored>> writes;
  monitoring::metrics metrics{"1", "coordinator"};
  std::unique_ptr<coordinator_core> core = farm(secret);
};

}  // namespace fxfarm::actors
