// What a coordinator writes down of a graph's life, and how it answers those who ask about it or have a worker rest.

#include "actors/coordinator_core.hpp"
#include "doubles.hpp"
#include "runtime/keys.hpp"

#include <nlohmann/json.hpp>

using namespace fxfarm;
using namespace fxfarm::actors;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

class coordinator_life_test : public ::testing::Test, public coordinator_port {
protected:
  void send(const net::peer_id& to, net::message what, blob attachment) override {
    out.send(to, std::move(what), std::move(attachment));
  }
  std::shared_ptr<const stored> find_in_memory(const std::string& key) override {
    return memory.contains(key) ? std::make_shared<const stored>(stored{some_bytes(), {}, "w", "memory"}) : nullptr;
  }
  void read_store(const std::string& key) override { reads.push_back(key); }
  void write_store(const std::string& key, stored) override { writes.push_back(key); }
  void remove_stored(const std::string&) override {}

  void tell(const net::inbound& in) { core.handle(in, now); }
  void client(const net::peer_id& id) { tell(came(id, "client")); }
  void worker(const net::peer_id& id, unsigned slots = 1, const std::string& torch = "2.13.0") {
    tell(came(id, "worker"));
    net::worker_offer offer;
    offer.runs_on = machine(torch);
    offer.slots = slots;
    tell(said(id, offer));
  }
  net::lookup lookup_of(char graph, std::map<std::string, std::string> parts = {}) {
    net::lookup m;
    m.graph_key = hex64(graph);
    m.name = std::string("graph ") + graph;
    m.stages = stages({"default"});
    m.target = machine();
    m.space = "team";
    m.parts = std::move(parts);
    return m;
  }
  void ask_for(const net::peer_id& id, char graph, std::map<std::string, std::string> parts = {}) {
    tell(said(id, lookup_of(graph, std::move(parts))));
    for (const auto& key : std::exchange(reads, {})) core.store_read(key, std::optional<stored>(), now);
  }
  void submit(const net::peer_id& id, char graph) { tell(said(id, net::submit{hex64(graph)}, some_bytes())); }
  static std::string key_of(char graph) {
    return make_stage_key(hex64(graph), machine(), stages({"default"}).front(), "salt");
  }
  std::string job_of(const net::peer_id& id) { return out.take<net::job>(id).at(0).id; }
  void finish(const net::peer_id& id, char graph) {
    tell(said(id, net::job_done{job_of(id), key_of(graph), {{"codegen", 2}, {"lower", 1}}}, some_bytes()));
    for (const auto& key : std::exchange(writes, {})) core.store_written(key, {}, now);
  }
  void fail(const net::peer_id& id, char graph, errc code) {
    tell(said(id, net::job_failed{job_of(id), key_of(graph), std::string(to_string(code)), "so"}));
  }
  void pass(std::chrono::seconds time) {
    for (auto left = time; left > 0s; left -= 1s) core.tick(now += 1s);
  }

  net::answer ask(const std::string& what, std::map<std::string, std::string> arguments = {}) {
    tell(came("operator", "operator"));
    tell(said("operator", net::ask{7, what, std::move(arguments)}));
    return out.take<net::answer>("operator").at(0);
  }
  json explain(const std::string& graph) {
    const auto answer = ask("explain", {{"graph", graph}});
    EXPECT_EQ(answer.code, "none") << answer.reason;
    return json::parse(answer.document, nullptr, false);
  }
  // "seconds step who text*count", a line for each event.
  std::string life(char graph) {
    std::string lines;
    const auto told = explain(hex64(graph));
    for (const auto& e : told["events"]) {
      lines += std::to_string(e["seconds"].get<int>()) + " " + e["step"].get<std::string>();
      for (const char* field : {"who", "text"}) {
        if (const auto text = e[field].get<std::string>(); !text.empty()) lines += " " + text;
      }
      if (const auto count = e["count"].get<int>(); count > 1) lines += "*" + std::to_string(count);
      lines += "\n";
    }
    return lines;
  }
  std::string why(char graph) { return explain(hex64(graph))["stages"][0]["why"]; }

  static coordinator_settings settings() {
    coordinator_settings s;
    s.id = "farm";
    s.salt = "salt";
    s.jobs.attempts_max = 2;
    return s;
  }

  time_point now{1000s};
  outbox out;
  std::set<std::string> memory;
  std::vector<std::string> reads, writes;
  monitoring::metrics metrics{"1.2.3", "coordinator"};
  coordinator_core core{
      settings(), *this, metrics.coordinator(), {[] { return std::map<std::string, double>(); }, [] {}}, now};
};

}  // namespace

TEST_F(coordinator_life_test, a_compile_is_told_from_the_lookup_to_the_switch) {
  worker("w");
  client("a");
  client("b");
  ask_for("a", 'a');
  now += 1s;
  ask_for("b", 'a');
  submit("a", 'a');
  now += 3s;
  finish("w", 'a');
  now += 1s;
  tell(said("a", net::switched{hex64('a'), key_of('a'), "default", 5, 0.5, {}}));
  memory.insert(key_of('a'));
  ask_for("c", 'a');
  EXPECT_EQ(life('a'),
            "0 missed\n0 graph_asked a-id\n1 joined b-id\n1 queued\n1 started w-id\n4 compiled w-id\n4 answered*2\n"
            "5 switched a-id\n");
  client("c");
  ask_for("c", 'a');
  ask_for("c", 'a');
  const auto told = explain("graph a");
  EXPECT_EQ(told["events"].back()["step"], "hit");
  EXPECT_EQ(told["events"].back()["who"], "memory");
  EXPECT_EQ(told["events"].back()["count"], 2);
  EXPECT_EQ(told["lookups"], 4);
  EXPECT_EQ(told["spaces"], json::array({"team"}));
  EXPECT_EQ(told["age_seconds"], 5);
  EXPECT_EQ(told["stages"][0]["state"], "ready");
  for (const auto& e : told["events"]) {
    if (e["step"] != "compiled") continue;
    EXPECT_EQ(e["took_seconds"], 3);
    EXPECT_EQ(e["phases"], (json{{"codegen", 2.0}, {"lower", 1.0}}));
  }
}

TEST_F(coordinator_life_test, retries_and_the_quarantine_are_told_with_their_reasons) {
  worker("w");
  client("a");
  ask_for("a", 'a');
  submit("a", 'a');
  fail("w", 'a', errc::engine_crashed);
  fail("w", 'a', errc::engine_crashed);
  ask_for("a", 'a');
  EXPECT_EQ(life('a'),
            "0 missed\n0 graph_asked a-id\n0 queued\n0 started w-id\n0 retried w-id engine_crashed: so\n"
            "0 started w-id\n"
            "0 quarantined w-id quarantined: given up after 2 attempts, the last: engine_crashed: so\n"
            "0 remembered quarantined: given up after 2 attempts, the last: engine_crashed: so\n");
  const auto stage = explain(key_of('a').substr(0, 12))["stages"][0];
  EXPECT_EQ(stage["why"],
            "failed: quarantined: given up after 2 attempts, the last: engine_crashed: so; the next 600 s everybody is "
            "answered so, then it is tried anew");
  EXPECT_NE(stage["advice"].get<std::string>().find("fxfarm cache rm " + key_of('a').substr(0, 12)), std::string::npos);
}

TEST_F(coordinator_life_test, what_nobody_waits_for_and_what_is_forgotten_is_told) {
  client("a");
  ask_for("a", 'a');
  tell(said("a", net::release{{key_of('a')}}));
  EXPECT_EQ(life('a'), "0 missed\n0 graph_asked a-id\n0 cancelled\n");
  EXPECT_EQ(why('a'), "nobody waits for it any longer; the next one who asks starts it again");
  ask("forget", {{"key", key_of('a')}});
  EXPECT_EQ(explain(hex64('a'))["events"].back()["step"], "forgotten");
  EXPECT_EQ(explain(hex64('a'))["stages"][0]["state"], "forgotten");
}

TEST_F(coordinator_life_test, an_artifact_that_a_client_cannot_use_is_told) {
  client("a");
  memory.insert(key_of('a'));
  ask_for("a", 'a');
  tell(said("a", net::switched{hex64('a'), key_of('a'), "default", 5, 0.5, "corrupt"}));
  auto again = lookup_of('a');
  again.refused = {key_of('a')};
  tell(said("a", again));
  EXPECT_EQ(life('a'), "0 hit memory\n0 load_failed a-id corrupt\n0 refused a-id\n0 missed\n0 graph_asked a-id\n");
}

TEST_F(coordinator_life_test, a_job_that_waits_says_for_what) {
  worker("w");
  client("a");
  ask_for("a", 'a');
  EXPECT_EQ(why('a'), "client a-id was asked for the graph 0.0 s ago");
  for (char graph : {'a', 'b', 'c', 'd'}) {
    ask_for("a", graph);
    submit("a", graph);
    now += 20s;
    tell(said("w", net::job_alive{{"farm-1"}}));
  }
  EXPECT_EQ(why('a'), "runs on worker w-id for 80 s (attempt 1 of 2)");
  EXPECT_EQ(why('b'), "is next in the queue, for 60 s so far; 1 slot can take it");
  EXPECT_EQ(why('d'), "waits behind 2 jobs, for 20 s so far; 1 slot can take it");
  tell(went("w"));
  EXPECT_EQ(why('d'), "no worker fits: no worker is connected");
}

TEST_F(coordinator_life_test, of_a_miss_the_nearest_known_key_is_told) {
  client("a");
  ask_for("a", 'a', {{"inputs", "i1"}, {"nodes", "n1"}});
  now += 1s;
  ask_for("a", 'b', {{"inputs", "i2"}, {"nodes", "n1"}});
  EXPECT_EQ(explain(hex64('a'))["stages"][0]["neighbour"], nullptr);
  const auto told = explain(hex64('b'))["stages"][0]["neighbour"];
  EXPECT_EQ(told["graph_key"], hex64('a'));
  EXPECT_EQ(told["name"], "graph a");
  EXPECT_EQ(told["differ"], json::array({{{"part", "graph.inputs"}, {"here", "i2"}, {"there", "i1"}}}));
}

TEST_F(coordinator_life_test, a_graph_is_found_by_name_or_by_how_a_key_begins) {
  client("a");
  ask_for("a", 'a');
  ask_for("a", 'b');
  EXPECT_EQ(explain("graph b")["graph_key"], hex64('b'));
  EXPECT_EQ(explain("bbbb")["graph_key"], hex64('b'));
  EXPECT_EQ(explain(key_of('b').substr(0, 20))["graph_key"], hex64('b'));
  EXPECT_EQ(ask("explain", {{"graph", "cccc"}}).code, "not_found");
  EXPECT_EQ(ask("explain", {{"graph", ""}}).code, "bad_input");
  EXPECT_EQ(ask("explain").code, "bad_input");

  auto twin = lookup_of('c');
  twin.name = "graph b";
  tell(said("a", twin));
  const auto unclear = ask("explain", {{"graph", "graph b"}});
  EXPECT_EQ(unclear.code, "bad_input");
  EXPECT_NE(unclear.reason.find("2 graphs"), std::string::npos);
  EXPECT_NE(unclear.reason.find(hex64('c').substr(0, 16) + " (graph b)"), std::string::npos);
}

TEST_F(coordinator_life_test, what_was_never_known_is_written_nowhere) {
  client("a");
  tell(said("a", net::switched{hex64('a'), key_of('a'), "default", 5, 0.5, {}}));
  EXPECT_EQ(ask("explain", {{"graph", hex64('a')}}).code, "not_found");
}

TEST_F(coordinator_life_test, a_worker_is_taken_out_of_work_at_once_and_told) {
  worker("w");
  const auto told = ask("drain", {{"worker", "w-i"}});
  EXPECT_EQ(json::parse(told.document), (json{{"worker", "w-id"}, {"draining", true}, {"busy", 0}}));
  EXPECT_TRUE(out.take<net::set_drain>("w").at(0).draining);
  client("a");
  ask_for("a", 'a');
  submit("a", 'a');
  EXPECT_EQ(out.count<net::job>(), 0u);
  EXPECT_EQ(why('a'), "no worker fits: every worker is draining");
  EXPECT_EQ(json::parse(ask("status").document)["workers"][0]["state"], "draining");

  ask("undrain", {{"worker", "w-id"}});
  EXPECT_FALSE(out.take<net::set_drain>("w").at(0).draining);
  net::worker_offer offer;
  offer.runs_on = machine();
  offer.slots = 1;
  tell(said("w", offer));
  EXPECT_EQ(out.count<net::job>("w"), 1u);
}

TEST_F(coordinator_life_test, a_worker_is_found_by_how_only_its_name_begins) {
  worker("w1");
  worker("w2");
  EXPECT_EQ(ask("drain", {{"worker", "w1"}}).code, "none");
  EXPECT_EQ(ask("drain", {{"worker", "w"}}).code, "bad_input");
  EXPECT_EQ(ask("drain", {{"worker", "v"}}).code, "not_found");
  EXPECT_EQ(ask("drain").code, "bad_input");
}

TEST_F(coordinator_life_test, top_has_the_queue_by_stage_and_what_takes_longest) {
  worker("w");
  client("a");
  for (char graph : {'a', 'b', 'c'}) {
    ask_for("a", graph);
    submit("a", graph);
  }
  now += 2s;
  finish("w", 'a');
  now += 3s;
  ask_for("a", 'd');
  const auto top = json::parse(ask("top").document);
  EXPECT_EQ(top["stages"], json::array({{{"name", "default"},
                                         {"wants_graph", 1},
                                         {"queued", 1},
                                         {"running", 1},
                                         {"storing", 0},
                                         {"oldest_seconds", 5.0}}}));
  EXPECT_EQ(top["running"][0]["name"], "graph b");
  EXPECT_EQ(top["running"][0]["worker"], "w-id");
  EXPECT_EQ(top["running"][0]["seconds"], 3.0);
  EXPECT_EQ(top["slowest"][0]["name"], "graph a");
  EXPECT_EQ(top["slowest"][0]["seconds"], 3.0) << "of its phases";
  EXPECT_EQ(top["clients"], 1);
  EXPECT_EQ(top["workers"].size(), 1u);
}

TEST_F(coordinator_life_test, graphs_are_selected_by_the_arguments_of_the_question) {
  client("a");
  for (char graph : {'a', 'b', 'c'}) ask_for("a", graph);
  const auto found = json::parse(ask("graphs", {{"name", "graph"}, {"sort", "name"}, {"limit", "2"}}).document);
  EXPECT_EQ(found["known"], 3);
  ASSERT_EQ(found["graphs"].size(), 2u);
  EXPECT_EQ(found["graphs"][0]["name"], "graph a");
  EXPECT_EQ(found["graphs"][0]["lookups"], 1);
  EXPECT_EQ(ask("graphs", {{"limit", "many"}}).code, "bad_input");
}
