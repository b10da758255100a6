#pragma once
// What stands in for the network in the actors' tests, and actors without threads.

#include "actors/client.hpp"

#include <map>
#include <set>
#include <string>
#include <vector>

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <gtest/gtest.h>

namespace fxfarm::actors {

struct sent_message {
  net::peer_id to;
  net::message what;
  blob attachment;
};

// Everything that was sent; takes what a test has looked at.
class outbox final : public net::connector {
public:
  void send(const net::peer_id& to, net::message what, blob attachment) override {
    sent.push_back({to, std::move(what), std::move(attachment)});
  }
  void drop(const net::peer_id& to, std::string) override { dropped.push_back(to); }
  void connect(std::string endpoint) override { connected.insert(endpoint); }
  void disconnect(std::string endpoint) override { connected.erase(endpoint); }

  // All messages of that kind to `to` (empty: to anyone), which are thereby taken.
  template <class M>
  std::vector<M> take(const net::peer_id& to = {}) {
    std::vector<M> out;
    std::erase_if(sent, [&](const sent_message& s) {
      const auto* m = std::get_if<M>(&s.what);
      if (!m || (!to.empty() && s.to != to)) return false;
      out.push_back(*m);
      return true;
    });
    return out;
  }
  template <class M>
  std::size_t count(const net::peer_id& to = {}) {
    return take<M>(to).size();
  }

  std::vector<sent_message> sent;
  std::vector<net::peer_id> dropped;
  std::set<std::string> connected;
};

inline net::inbound came(const net::peer_id& peer, std::string role = "coordinator") {
  net::hello who;
  who.role = std::move(role);
  who.id = peer + "-id";
  who.host = "host";
  return {peer, net::peer_up{who}, nullptr};
}
inline net::inbound went(const net::peer_id& peer) {
  return {peer, net::peer_down{{errc::unreachable, "silent"}}, nullptr};
}
inline net::inbound said(const net::peer_id& peer, net::message what, blob attachment = nullptr) {
  return {peer, std::move(what), std::move(attachment)};
}

inline blob some_bytes(std::string_view text = "bytes") {
  return make_blob(to_bytes(text));
}
inline std::string hex64(char digit) {
  return std::string(64, digit);
}
inline platform machine(std::string torch = "2.13.0") {
  platform p;
  p.torch = std::move(torch);
  p.python = "3.11";
  return p;
}
// That, with a GPU.
inline platform gpu_machine(std::string torch = "2.13.0") {
  auto p = machine(std::move(torch));
  p.device = "cuda";
  p.triton = "3.6.0";
  p.gpu = "H100 sm_90";
  p.gpu_driver = "cuda 13.0";
  return p;
}
inline stage_list stages(std::initializer_list<const char*> names) {
  stage_list out;
  for (const char* name : names) out.push_back({name, {{"mode", std::string("\"") + name + "\""}}});
  return out;
}

// Actors that run when they are told to, under a clock that stands still until it is moved.
class actors_test : public ::testing::Test {
protected:
  struct config : caf::actor_system_config {
    config() { set("scheduler.policy", caf::atom("testing")); }
  };

  void run() { sched.run(); }
  void pass(std::chrono::milliseconds time) {
    sched.advance_time(time);
    sched.run();
  }
  template <class Handle, class Message>
  void tell(const Handle& to, Message m) {
    caf::anon_send(to, std::move(m));
    run();
  }
  template <class Handle>
  void deliver(const Handle& to, net::inbound in) {
    tell(to, link_events{std::make_shared<const net::inbound_batch>(net::inbound_batch{std::move(in)})});
  }
  void TearDown() override {
    run();
    sched.clock().cancel_all();
    run();
  }
  template <class Handle>
  void end(Handle& actor) {
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    run();
    actor = Handle();
  }

  config settings_;
  caf::actor_system system{settings_};
  caf::scheduler::test_coordinator& sched = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
};

}  // namespace fxfarm::actors
