// A worker with a coordinator and engines that only listen: what an engine would say is said by the test.
#pragma once

#include "actors/worker.hpp"
#include "doubles.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fxfarm::actors {

inline const std::string farm = "tcp://farm";

class worker_test : public actors_test {
protected:
  void start(unsigned slots) {
    worker_options o;
    o.name = "w";
    o.link = link;
    o.slots = slots;
    o.memory_bytes = memory_bytes;
    o.spawn_engine = [this](std::size_t slot, const engine_owner&) { return silent_engine(slot); };
    o.lease_renewal = std::chrono::seconds(5);
    o.signer = signer;
    o.kernel_signers = kernel_signers;
    o.engines_shared = shared;
    o.sandbox = "bubblewrap";
    o.probe = &metrics.worker();
    o.on_end = [this] { ++ended; };
    worker = system.spawn(worker_behavior, std::move(o));
    run();
    tell(worker, farm_found{{farm, "tcp://other", "tcp://b", "tcp://c"}, {}});
    deliver(worker, came(farm));
  }
  void TearDown() override {
    if (ended == 0) tell(worker, drain{true});
    worker = nullptr;
    actors_test::TearDown();
    EXPECT_EQ(system.registry().running(), 0u) << "its engines end with it";
  }
  engine_actor silent_engine(std::size_t slot) {
    return system.spawn([this, slot](engine_actor::pointer self) -> engine_actor::behavior_type {
      return {
          [this, slot](engine_job& m) { given.emplace_back(slot, m); },
          [this](const engine_cancel& m) { cancelled.push_back(m.id); },
          [](const engine_frame&) {},
          [](const engine_exited&) {},
          [](const engine_deadline&) {},
          [](const engine_restart&) {},
          [this, slot](const engine_change& m) { changed.emplace_back(slot, m.tenant); },
          [this, slot](const engine_kernel_answer& m) { brought.emplace_back(slot, m); },
          [self](const drain&) { self->quit(); },
      };
    });
  }
  void engine_ready(std::size_t slot) {
    tell(worker, engine_state{slot, machine(), false, std::nullopt});
    tell(worker, engine_state{slot, machine(), true, std::nullopt});
  }
  void engine_down(std::size_t slot, errc code) {
    tell(worker, engine_state{slot, std::nullopt, false, error{code, "why"}});
  }
  void engine_ready_for(std::size_t slot, const std::string& tenant) {
    tell(worker, engine_state{slot, machine(), true, std::nullopt, tenant});
  }
  void job(const std::string& id, const std::string& from = farm, const std::string& scope = {}) {
    net::job m;
    m.scope = scope;
    m.id = id;
    m.stage_key = "stage of " + id;
    m.graph_key = "graph of " + id;
    m.deadline_ms = 60'000;
    m.attempts = 2;
    deliver(worker, said(from, m, some_bytes("graph")));
  }
  void outcome(std::size_t slot, const std::string& id, std::optional<error> why = {}) {
    tell(worker, engine_outcome{slot, id, why ? nullptr : some_bytes("artifact"), {{"lower", 0.5}}, why});
  }
  std::vector<std::string> renewed() {
    auto alive = link->take<net::job_alive>(farm);
    EXPECT_LE(alive.size(), 1u);
    return alive.empty() ? std::vector<std::string>{} : alive[0].ids;
  }
  net::worker_offer offered(const std::string& to = farm) {
    auto offers = link->take<net::worker_offer>(to);
    EXPECT_EQ(offers.size(), 1u);
    return offers.empty() ? net::worker_offer{} : offers.back();
  }

  std::optional<artifact_signer> signer;
  std::shared_ptr<const signature_check> kernel_signers;
  monitoring::metrics metrics{"1", "worker"};
  std::shared_ptr<outbox> link = std::make_shared<outbox>();
  std::vector<std::pair<std::size_t, engine_job>> given;
  using changes = std::vector<std::pair<std::size_t, std::string>>;
  changes changed;
  std::vector<std::pair<std::size_t, engine_kernel_answer>> brought;
  bool shared = false;
  std::uint64_t memory_bytes = 0;
  std::vector<std::string> cancelled;
  int ended = 0;
  worker_actor worker;
};

}  // namespace fxfarm::actors
