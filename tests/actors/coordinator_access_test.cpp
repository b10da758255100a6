// What a coordinator lets whom do, where keys are on: each right, each namespace, and each attempt to pass them.
#include "actors/coordinator_core.hpp"
#include "doubles.hpp"
#include "runtime/keys.hpp"
#include "tests/runtime/signers.hpp"

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;

namespace {

const std::string secret(40, 's');

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
  time_point now{1000s};
  double unix_seconds = 1.8e9;
  outbox out;
  std::vector<std::string> reads;
  std::vector<std::pair<std::string, stored>> writes;
  monitoring::metrics metrics{"1", "coordinator"};
  std::unique_ptr<coordinator_core> core = farm(secret);
};

}  // namespace

TEST_F(coordinator_access_test, a_peer_that_says_what_its_right_does_not_cover_is_told_and_counted) {
  peer("client", "client", "team");
  peer("operator", "operator");
  worker("worker");
  const struct {
    net::peer_id who;
    net::message what;
    std::string tag;
  } attempts[] = {
      {"client", net::job_done{"1", key_of(), {}}, "job_done"},
      {"client", net::job_held{}, "job_held"},
      {"client", net::worker_offer{}, "worker_offer"},
      {"client", net::ask{1, "drain", {{"worker", "worker-id"}}}, "ask"},
      {"client", net::ask{1, "reset-stats", {}}, "ask"},
      {"client", net::ask{1, "forget", {{"key", graph}}}, "ask"},
      {"client", net::ask{1, "status", {}}, "ask"},
      {"worker", question(), "lookup"},
      {"worker", net::submit{graph}, "submit"},
      {"worker", net::ask{1, "drain", {{"worker", "worker-id"}}}, "ask"},
      {"worker", net::set_drain{true}, "set_drain"},
      {"operator", question(), "lookup"},
      {"operator", net::job_done{"1", key_of(), {}}, "job_done"},
  };
  for (const auto& a : attempts) {
    const auto before = counted("messages_refused");
    out.sent.clear();
    tell(said(a.who, a.what, some_bytes("x")));
    ASSERT_EQ(out.sent.size(), 1u) << a.tag;
    const auto told = out.take<net::rejected>(a.who);
    ASSERT_EQ(told.size(), 1u) << a.tag;
    EXPECT_EQ(told[0].code, "refused");
    EXPECT_EQ(told[0].reason, "a peer with the right of " + a.who + " may not send " + a.tag);
    EXPECT_EQ(counted("messages_refused"), before + 1);
  }
  EXPECT_TRUE(reads.empty() && writes.empty());
}

TEST_F(coordinator_access_test, the_namespace_is_the_keys_and_not_what_a_client_says) {
  worker("w");
  peer("a", "client", "team-a");
  ask("a");
  submit("a", "graph");
  const auto jobs = out.take<net::job>("w");
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].space, "team-a");
  EXPECT_EQ(jobs[0].scope, "");
  EXPECT_EQ(jobs[0].stage_key, key_of());
}

TEST_F(coordinator_access_test, namespaces_that_share_have_one_job) {
  worker("w");
  peer("a", "client", "team-a");
  peer("b", "client", "team-b");
  ask("a");
  ask("b");
  EXPECT_EQ(out.count<net::need_graph>(), 1u);
  submit("a", "graph");
  const auto jobs = out.take<net::job>();
  ASSERT_EQ(jobs.size(), 1u);
  finish("w", jobs[0], "artifact");
  EXPECT_EQ(out.count<net::stage_ready>("a") + out.count<net::stage_ready>("b"), 2u);
}

// The same graph key in three places: neither the graph that one has sent nor what it became reaches another.
TEST_F(coordinator_access_test, an_isolated_namespace_shares_neither_graphs_nor_artifacts) {
  for (const auto* w : {"w1", "w2", "w3"}) worker(w);
  peer("a", "client", "team-a", true);
  peer("b", "client", "team-b", true);
  peer("c", "client", "team-c");
  const std::map<net::peer_id, std::string> scopes{{"a", "team-a"}, {"b", "team-b"}, {"c", ""}};
  for (const auto& [id, scope] : scopes) {
    ask(id);
    const auto wanted = out.take<net::need_graph>(id);
    ASSERT_EQ(wanted.size(), 1u) << id << " is asked for its own graph";
    EXPECT_EQ(wanted[0].graph_key, graph);
  }
  for (const auto& [id, scope] : scopes) {
    submit(id, "graph of " + id);
    std::vector<sent_message> given;
    for (const auto& s : out.sent) {
      if (std::holds_alternative<net::job>(s.what)) given.push_back(s);
    }
    const auto jobs = out.take<net::job>();
    ASSERT_EQ(jobs.size(), 1u);
    EXPECT_EQ(text_of(*given[0].attachment), "graph of " + id);
    EXPECT_EQ(jobs[0].graph_key, graph);
    EXPECT_EQ(jobs[0].scope, scope);
    EXPECT_EQ(jobs[0].stage_key, key_of(scope));
    for (const auto& progress : out.take<net::stage_progress>()) EXPECT_EQ(progress.graph_key, graph);
    finish(given[0].to, jobs[0], id);
    ASSERT_EQ(out.sent.size(), 1u) << "nobody else hears of it";
    EXPECT_EQ(out.sent[0].to, id);
    EXPECT_EQ(text_of(*out.sent[0].attachment), id);
    const auto ready = out.take<net::stage_ready>(id);
    ASSERT_EQ(ready.size(), 1u);
    EXPECT_EQ(ready[0].graph_key, graph);
    EXPECT_EQ(ready[0].stage_key, key_of(scope));
  }
}

TEST_F(coordinator_access_test, nobody_gets_into_a_namespace_by_the_name_of_a_graph) {
  worker("w");
  peer("a", "client", "team-a", true);
  peer("evil", "client", "team-c");
  ask("a");
  out.sent.clear();
  auto m = question();
  m.graph_key = scoped_key("team-a", graph);
  tell(said("evil", m));
  tell(said("evil", net::submit{m.graph_key}, some_bytes("poison")));
  auto armed = net::stage_armed{m.graph_key, "job", hex64('b'), 0, 2, key_of("team-a"), 0, 0, 0};
  tell(said("evil", armed));
  EXPECT_EQ(counted("messages_refused"), 2);
  EXPECT_TRUE(reads.empty());
  EXPECT_TRUE(out.sent.empty());
  submit("a", "graph");
  EXPECT_EQ(out.count<net::job>(), 1u);
}

TEST_F(coordinator_access_test, a_result_without_a_lease_is_not_stored) {
  worker("w");
  worker("thief");
  peer("a", "client", "team");
  ask("a");
  submit("a", "graph");
  std::optional<net::job> job;
  net::peer_id holder;
  for (const auto& s : out.sent) {
    if (const auto* j = std::get_if<net::job>(&s.what)) job = *j, holder = s.to;
  }
  ASSERT_TRUE(job);
  const net::peer_id other = holder == "w" ? "thief" : "w";
  tell(said(other, net::job_done{job->id, job->stage_key, {}}, some_bytes("poison")));
  tell(said(other, net::job_done{"made up", key_of(), {}}, some_bytes("poison")));
  EXPECT_EQ(counted("results_refused"), 2);
  EXPECT_TRUE(writes.empty());
  // Nor for another stage than the one it was given: what is stored goes by the lease.
  tell(said(holder, net::job_done{job->id, hex64('e'), {}}, some_bytes("artifact")));
  ASSERT_EQ(writes.size(), 1u);
  EXPECT_EQ(writes[0].first, key_of());
}

TEST_F(coordinator_access_test, a_job_that_a_worker_brings_must_have_been_given_to_it) {
  worker("w");
  peer("a", "client", "team-a", true);
  ask("a");
  submit("a", "graph");
  const auto job = out.take<net::job>("w").at(0);
  EXPECT_FALSE(job.ticket.empty());
  core = farm(secret);  // one that takes over
  worker("w");
  worker("thief");
  const struct {
    net::peer_id who;
    std::function<void(net::job&)> change;
    double later;
    std::string why;
  } claims[] = {
      {"w", [](net::job& j) { j.ticket.clear(); }, 0, "it has no ticket of this farm"},
      {"thief", [](net::job&) {}, 0, "its ticket is not of this farm, or for another job"},
      {"w", [](net::job& j) { j.scope.clear(); }, 0, "its ticket is not of this farm, or for another job"},
      {"w", [](net::job& j) { j.id += "x"; }, 0, "its ticket is not of this farm, or for another job"},
      {"w", [](net::job& j) { j.graph_key = hex64('c'); }, 0, "its ticket is not of this farm, or for another job"},
      {"w", [](net::job&) {}, 1e6, "its ticket has expired"},
  };
  double refused = 0;
  for (const auto& c : claims) {
    auto claim = job;
    c.change(claim);
    out.sent.clear();
    unix_seconds += c.later;
    tell(said(c.who, net::job_held{claim}));
    unix_seconds -= c.later;
    const auto told = out.take<net::cancel_job>(c.who);
    ASSERT_EQ(told.size(), 1u) << c.why;
    EXPECT_EQ(told[0].reason, c.why);
    EXPECT_EQ(counted("claims_refused"), ++refused);
    tell(said(c.who, net::job_done{claim.id, claim.stage_key, {}}, some_bytes("poison")));
    EXPECT_TRUE(writes.empty());
  }
  tell(said("w", net::job_held{job}));
  EXPECT_EQ(out.count<net::cancel_job>("w"), 0u);
  EXPECT_EQ(counted("jobs_adopted"), 1);
  finish("w", job, "artifact");
  EXPECT_EQ(counted("claims_refused"), refused);
  ASSERT_EQ(core->find_job(key_of("team-a")), nullptr);
}

TEST_F(coordinator_access_test, without_keys_a_worker_brings_what_it_runs_as_ever) {
  core = farm({});
  worker("w");
  net::job job;
  job.id = "other-1";
  job.stage_key = key_of();
  job.graph_key = graph;
  job.stage = stages({"default"}).front();
  job.target = machine();
  tell(said("w", net::job_held{job}));
  EXPECT_EQ(counted("jobs_adopted"), 1);
  EXPECT_EQ(counted("claims_refused"), 0);
}

TEST_F(coordinator_access_test, a_result_is_taken_when_an_accepted_signer_has_signed_it_for_its_stage) {
  using namespace testing_signers;
  signer_list list;
  const auto signer = new_signer(), stranger = new_signer();
  list.accept({signer.public_key()});
  signatures = list.check();
  const struct {
    const char* reason;
    artifact_signature by;
  } cases[] = {
      {"unsigned", {}},
      {"unknown_signer", signed_by(stranger, key_of(), view_of("code"))},
      {"bad_signature", signed_by(signer, hex64('e'), view_of("code"))},
      {"bad_signature", signed_by(signer, key_of(), view_of("other"))},
  };
  double bad = 0;
  for (const auto& c : cases) {
    core = farm(secret);
    worker("w");
    worker("v");
    peer("a", "client", "team");
    ask("a");
    submit("a", "graph");
    const auto [first, job] = job_sent();
    const auto before = counted((std::string("results_untrusted_") + c.reason).c_str());
    bring(first, job, c.by);
    // Another worker gets the next, where there is one. It is the job's second attempt only when the first might have
    // gone well: whose signer is not accepted brings nothing else.
    EXPECT_EQ(counted((std::string("results_untrusted_") + c.reason).c_str()), before + 1) << c.reason;
    EXPECT_TRUE(writes.empty());
    EXPECT_EQ(out.count<net::stage_ready>(), 0u);
    const auto [second, again] = job_sent();
    EXPECT_NE(second, first) << c.reason;
    EXPECT_EQ(again.attempts, c.reason == std::string("bad_signature") ? 2u : 1u) << c.reason;
    bring(second, again, signed_by(signer, key_of(), view_of("code")));
    ASSERT_EQ(writes.size(), 1u) << c.reason;
    EXPECT_EQ(writes[0].second.signature.signer, signer.public_key());
    core->store_written(key_of(), {}, now);
    writes.clear();
    const auto ready = out.take<net::stage_ready>("a");
    ASSERT_EQ(ready.size(), 1u);
    EXPECT_EQ(ready[0].signature, signed_by(signer, key_of(), view_of("code")));
    ++bad;
  }
  EXPECT_EQ(counted("jobs_retried"), bad);
}

TEST_F(coordinator_access_test, a_result_that_is_never_signed_well_fails_for_good_after_so_many_attempts) {
  using namespace testing_signers;
  signer_list list;
  const auto signer = new_signer();
  list.accept({signer.public_key()});
  begin_job_under(list);
  for (unsigned i = 0; i < limits::job_attempts_max; ++i) {
    const auto [who, job] = job_sent();
    bring(who, job, signed_by(signer, key_of(), view_of("other")));
    now += 1s;
    core->tick(now);  // there is no other worker
  }
  EXPECT_EQ(counted("results_untrusted_bad_signature"), limits::job_attempts_max);
  const auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "quarantined");
  EXPECT_NE(failed[0].reason.find("untrusted: the artifact is not what"), std::string::npos) << failed[0].reason;
}

TEST_F(coordinator_access_test, a_worker_whose_signer_is_not_accepted_gets_no_more_jobs_until_it_is) {
  using namespace testing_signers;
  signer_list list;
  const auto signer = new_signer(), late = new_signer();
  list.accept({signer.public_key()});
  begin_job_under(list);
  const auto [who, job] = job_sent();
  bring(who, job, signed_by(late, key_of(), view_of("code")));
  now += 1s;
  core->tick(now);
  offer_slot("w");  // as it says again and again
  EXPECT_EQ(out.count<net::job>("w"), 0u);
  EXPECT_EQ(counted("results_untrusted_unknown_signer"), 1);
  // Its line is added; the job has lost no attempt.
  list.accept({signer.public_key(), late.public_key()});
  now += 1s;
  core->tick(now);
  const auto [same, again] = job_sent();
  EXPECT_EQ(same, "w");
  EXPECT_EQ(again.attempts, 1u);
  bring(same, again, signed_by(late, key_of(), view_of("code")));
  EXPECT_EQ(writes.size(), 1u);
}

TEST_F(coordinator_access_test, where_no_workers_signer_is_accepted_a_job_fails_with_the_reason) {
  using namespace testing_signers;
  signer_list list;
  const auto stranger = new_signer();
  begin_job_under(list);
  const auto [who, job] = job_sent();
  bring(who, job, signed_by(stranger, key_of(), view_of("code")));
  for (auto waited = 0ms; waited <= limits::no_worker_grace; waited += 1s) {
    now += 1s;
    core->tick(now);
  }
  const auto failed = out.take<net::stage_failed>("a");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].code, "no_worker");
  EXPECT_NE(failed[0].reason.find("who is not accepted"), std::string::npos) << failed[0].reason;
  EXPECT_EQ(counted("results_untrusted_unknown_signer"), 1);
}

TEST_F(coordinator_access_test, where_a_stage_is_said_that_is_not_the_jobs_the_jobs_must_be_signed) {
  using namespace testing_signers;
  signer_list list;
  const auto signer = new_signer();
  list.accept({signer.public_key()});
  begin_job_under(list);
  auto [who, job] = job_sent();
  job.stage_key = hex64('e');
  bring(who, job, signed_by(signer, hex64('e'), view_of("code")));
  EXPECT_EQ(counted("results_untrusted_bad_signature"), 1);
  EXPECT_TRUE(writes.empty());
}

TEST_F(coordinator_access_test, the_clients_of_a_key_have_so_many_jobs_together_and_others_have_theirs) {
  jobs_per_key = 2;
  core = farm(secret);
  peer("a1", "client", "team", false, "alice");
  peer("a2", "client", "team", false, "alice");
  peer("b", "client", "team", false, "bob");
  EXPECT_EQ(ask_for("a1", '1'), "");
  EXPECT_EQ(ask_for("a2", '2'), "");
  const std::string full = "the clients of this key have as many jobs as they may";
  EXPECT_EQ(ask_for("a1", '3'), full);
  EXPECT_EQ(ask_for("a2", '3'), full);
  EXPECT_EQ(counted("quota_refusals_jobs"), 2);
  EXPECT_EQ(ask_for("a1", '2'), "") << "joining one costs nothing";
  EXPECT_EQ(ask_for("b", '3'), "");
  EXPECT_EQ(ask_for("a1", '3'), "") << "now it is another key's job";
  tell(went("a1"));
  EXPECT_EQ(ask_for("a2", '4'), "") << "one of theirs is gone";
  EXPECT_EQ(ask_for("a2", '5'), full);
  EXPECT_EQ(counted("quota_refusals_jobs"), 3);
  EXPECT_EQ(counted("quota_refusals_lookups") + counted("quota_refusals_graph_bytes"), 0);
}

TEST_F(coordinator_access_test, the_clients_of_a_key_ask_so_often_a_second_together) {
  accounts.lookups_per_second = 2;
  core = farm(secret);
  peer("a1", "client", "team", false, "alice");
  peer("a2", "client", "team", false, "alice");
  peer("b", "client", "team", false, "bob");
  EXPECT_EQ(ask_for("a1", '1'), "");
  EXPECT_EQ(ask_for("a2", '1'), "");
  EXPECT_EQ(ask_for("a1", '1'), "the clients of this key have asked as often as they may");
  EXPECT_EQ(ask_for("b", '1'), "");
  EXPECT_EQ(counted("quota_refusals_lookups"), 1);
  EXPECT_EQ(counted("lookups"), 4);
  now += 500ms;
  EXPECT_EQ(ask_for("a2", '1'), "");
  EXPECT_EQ(counted("quota_refusals_lookups"), 1);
}

TEST_F(coordinator_access_test, a_graph_of_no_bytes_is_refused_and_leaves_nothing_behind) {
  peer("a1", "client", "team", false, "alice");
  EXPECT_EQ(ask_for("a1", '1'), "");
  tell(said("a1", net::submit{hex64('1')}, some_bytes("")));
  const auto told = out.take<net::stage_failed>("a1");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].code, "bad_input");
  EXPECT_EQ(told[0].reason, "the graph has no bytes");
  tell(went("a1"));
  now += 2s;
  core->tick(now);
  EXPECT_EQ(core->inconsistency(), "");
}

TEST_F(coordinator_access_test, the_graphs_of_a_key_take_so_many_bytes_until_their_jobs_end) {
  accounts.graph_bytes = 10;
  core = farm(secret);
  peer("a1", "client", "team", false, "alice");
  peer("a2", "client", "team", false, "alice");
  EXPECT_EQ(ask_for("a1", '1'), "");
  tell(said("a1", net::submit{hex64('1')}, some_bytes("123456")));
  EXPECT_EQ(ask_for("a2", '2'), "");
  tell(said("a2", net::submit{hex64('2')}, some_bytes("12345")));
  auto told = out.take<net::stage_failed>("a2");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].code, "busy");
  EXPECT_GE(told[0].retry_ms, 1000u);
  EXPECT_EQ(told[0].reason, "the clients of this key have as many graph bytes here as they may");
  EXPECT_EQ(counted("quota_refusals_graph_bytes"), 1);

  tell(went("a1"));  // and with it its job, which has not begun
  EXPECT_EQ(ask_for("a2", '2'), "");
  tell(said("a2", net::submit{hex64('2')}, some_bytes("12345")));
  EXPECT_EQ(out.take<net::stage_failed>("a2").size(), 0u);
  EXPECT_EQ(counted("quota_refusals_graph_bytes"), 1);
}
