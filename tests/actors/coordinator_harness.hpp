// A coordinator without actors, sockets and a clock: what tests tell it, and what it sends and stores.
#pragma once

#include "actors/coordinator_core.hpp"
#include "doubles.hpp"
#include "runtime/keys.hpp"

#include <nlohmann/json.hpp>

namespace fxfarm::actors {

class coordinator_core_test : public ::testing::Test, public coordinator_port {
protected:
  void send(const net::peer_id& to, net::message what, blob attachment) override {
    out.send(to, std::move(what), std::move(attachment));
  }
  std::shared_ptr<const stored> find_in_memory(const std::string& key) override {
    const auto found = memory.find(key);
    return found == memory.end() ? nullptr : std::make_shared<const stored>(found->second);
  }
  void read_store(const std::string& key) override { reads.push_back(key); }
  void write_store(const std::string& key, stored what) override { writes.emplace_back(key, std::move(what)); }
  void remove_stored(const std::string& key) override { removed.push_back(key); }

  void tell(net::inbound in) {
    core.handle(in, now);
    ASSERT_EQ(core.inconsistency(), "");
  }
  void client(const net::peer_id& id) { tell(came(id, "client")); }
  void worker(const net::peer_id& id, unsigned slots = 1, platform runs_on = machine()) {
    tell(came(id, "worker"));
    net::worker_offer offer;
    offer.runs_on = std::move(runs_on);
    offer.slots = slots;
    tell(said(id, offer));
  }
  net::lookup ask_for(stage_list wanted = stages({"default"})) {
    net::lookup m;
    m.graph_key = graph;
    m.name = "model";
    m.stages = std::move(wanted);
    m.target = machine();
    return m;
  }
  std::string key_of(const char* stage = "default") {
    return make_stage_key(graph, machine(), stages({stage}).front(), "salt");
  }
  void answer_reads(result<std::optional<stored>> found = std::optional<stored>()) {
    for (const auto& key : std::exchange(reads, {})) core.store_read(key, found, now);
    ASSERT_EQ(core.inconsistency(), "");
  }
  void answer_writes(const result<void>& outcome = {}) {
    for (const auto& [key, what] : std::exchange(writes, {})) core.store_written(key, outcome, now);
    ASSERT_EQ(core.inconsistency(), "");
  }
  void lookup_misses(const net::peer_id& id, stage_list wanted = stages({"default"})) {
    tell(said(id, ask_for(std::move(wanted))));
    answer_reads();
  }
  void submit(const net::peer_id& id) { tell(said(id, net::submit{graph}, some_bytes("graph"))); }
  // Ticks as an actor would while there is something to wait for.
  void pass(std::chrono::milliseconds time) {
    for (const auto end = now + time; now < end;) {
      now += std::min<std::chrono::milliseconds>(std::chrono::seconds(1),
                                                 std::chrono::ceil<std::chrono::milliseconds>(end - now));
      core.tick(now);
      ASSERT_EQ(core.inconsistency(), "");
    }
  }
  nlohmann::json ask(const std::string& what, std::map<std::string, std::string> arguments = {}) {
    tell(came("operator", "operator"));
    tell(said("operator", net::ask{7, what, std::move(arguments)}));
    auto answers = out.take<net::answer>("operator");
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers.at(0).request, 7u);
    return nlohmann::json::parse(answers.at(0).document, nullptr, false);
  }

  net::stage_armed armed(unsigned rank) {
    net::stage_armed m;
    m.graph_key = graph;
    m.group = hex64('b');
    m.rank = rank;
    m.world = 2;
    m.stage_key = key_of();
    return m;
  }

  static coordinator_settings settings() {
    coordinator_settings s;
    s.id = "farm";
    s.version = "1.2.3";
    s.salt = "salt";
    s.endpoints = {"tcp://farm:7070"};
    s.graph_bytes_max = 100;
    return s;
  }

  coordinator_core make_core(coordinator_settings s) {
    return {std::move(s),
            *this,
            metrics.coordinator(),
            {[this] {
               return std::map<std::string, double>{
                   {"lookups", 3},          {"resets", resets},          {"last_reset_timestamp_seconds", 12},
                   {"cache_bytes_disk", 7}, {"redis_breaker_closed", 0}, {"redis_breaker_open", 1},
                   {"redis_queue_bytes", 5}};
             },
             [this] { ++resets; }},
            now};
  }

  const std::string graph = hex64('a');
  time_point now{std::chrono::seconds(1000)};
  outbox out;
  std::map<std::string, stored> memory;
  std::vector<std::string> reads, removed;
  std::vector<std::pair<std::string, stored>> writes;
  int resets = 0;
  monitoring::metrics metrics{"1.2.3", "coordinator"};
  coordinator_core core = make_core(settings());
};

}  // namespace fxfarm::actors
