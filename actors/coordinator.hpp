#pragma once
// The coordinator: a core that decides, and an actor that carries messages between it, the network and the store.

#include "actors/coordinator_core.hpp"
#include "actors/messages.hpp"
#include "actors/store.hpp"

#include <functional>

#include <caf/replies_to.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

namespace fxfarm::actors {

struct idle_check {};

using coordinator_actor =
    caf::typed_actor<caf::reacts_to<link_events>, caf::reacts_to<tick>, caf::reacts_to<idle_check>,
                     caf::reacts_to<drain>, caf::reacts_to<operator_question>>;

struct coordinator_options {
  coordinator_settings settings;
  std::shared_ptr<net::outbound> link;
  store_actor artifacts;
  // What the store has in memory, found on the coordinator's own thread.
  std::function<std::shared_ptr<const stored>(const std::string&)> find_in_memory = [](const std::string&) {
    return nullptr;
  };
  monitoring::coordinator_probe* probe = nullptr;  // outlives the actor
  statistics_access statistics;
  std::function<time_point()> now = [] { return std::chrono::steady_clock::now(); };
  // After so long without any work the coordinator ends; 0: never.
  std::chrono::milliseconds idle_timeout{0};
  // Called once, on an actor thread, when the coordinator has ended by `drain` or because it was idle.
  std::function<void()> on_end;
};

class coordinator_state : public coordinator_port {
public:
  using pointer = coordinator_actor::stateful_pointer<coordinator_state>;
  static inline const char* name = "coordinator";

  coordinator_state() = default;
  void start(pointer self, coordinator_options options);
  void handle(const link_events& events);
  void advance();
  void check_idle();
  void begin_drain(bool at_once);
  // Who only looks keeps no farm from leaving.
  void answer(const operator_question& question);

private:
  void send(const net::peer_id& to, net::message what, blob attachment) override;
  std::shared_ptr<const stored> find_in_memory(const std::string& stage_key) override;
  void read_store(const std::string& stage_key) override;
  void write_store(const std::string& stage_key, stored what) override;
  void remove_stored(const std::string& stage_key) override;
  // After every event: arm the clocks that are needed, end when that is due.
  void settle();
  void end();

  coordinator_actor::pointer self_ = nullptr;
  coordinator_options options_;
  std::unique_ptr<coordinator_core> core_;
  bool tick_armed_ = false;
  bool idle_check_armed_ = false;
  bool draining_ = false;
  bool ended_ = false;
  time_point active_;  // when something was last in flight
};

coordinator_actor::behavior_type coordinator_behavior(coordinator_state::pointer self, coordinator_options options);

}  // namespace fxfarm::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::idle_check)
