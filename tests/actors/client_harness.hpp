#pragma once
// A client actor whose farms, links and loader are the test's.

#include "actors/client.hpp"
#include "doubles.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace fxfarm::actors {

inline const std::string local = "ipc://local";

class client_test : public actors_test {
protected:
  void start(std::vector<std::string> endpoints, std::string local_endpoint = local) {
    farms = endpoints;
    client_settings s;
    s.probe = &metrics.client();
    s.has_farm = !endpoints.empty();
    s.local_endpoint = std::move(local_endpoint);
    s.start_local = [this](std::function<void(result<void>)> done) {
      ++starts;
      if (starts_end) {
        done({});
      } else {
        starting.push_back(std::move(done));
      }
    };
    s.links = links;
    s.log = log;
    s.load = [this](load_task t) { loads.push_back(std::move(t)); };
    s.told = [this](switch_notice n) { notices.push_back(std::move(n)); };
    client = system.spawn(client_behavior, std::move(s));
    run();
    if (!endpoints.empty()) tell(client, farm_found{std::move(endpoints), {}});
  }
  void submit(std::uint64_t id, char key = 'a') { submit(id, hex64(key)); }
  void submit(std::uint64_t id, const std::string& key) {
    auto request = std::make_shared<graph_request>();
    request->graph_key = key;
    request->graph = some_bytes("graph");
    request->stages = stages({"default", "max-autotune"});
    request->target = machine();
    graph_status known;
    known.id = id;
    log->add(known);
    tell(client, submit_graph{id, request});
  }
  void up(const std::string& farm) { deliver(client, came(farm)); }
  void down(const std::string& farm) { deliver(client, went(farm)); }
  void TearDown() override {
    loads.clear();
    tell(client, drain{});
    client = nullptr;
    actors_test::TearDown();
  }
  std::string stage_key(std::uint64_t id, std::size_t stage) { return log->find(id)->stages.at(stage).stage_key; }
  void no_worker(const std::string& farm, std::uint64_t id, std::size_t stage) {
    deliver(client, said(farm, net::stage_failed{hex64('a'), stage_key(id, stage), "no_worker", "why", 0}));
  }

  std::vector<std::string> farms;
  std::shared_ptr<outbox> links = std::make_shared<outbox>();
  monitoring::metrics metrics{"1", "client"};
  std::shared_ptr<board> log = std::make_shared<board>();
  std::vector<load_task> loads;
  std::vector<switch_notice> notices;
  int starts = 0;
  bool starts_end = true;  // at once; otherwise a test ends them
  std::vector<std::function<void(result<void>)>> starting;
  client_actor client;
};

}  // namespace fxfarm::actors
