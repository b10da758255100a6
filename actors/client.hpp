#pragma once
// The client's link to its farms: routes every graph to the coordinator it belongs to, and what comes back to the
// output actors. Starts the local farm when that is the one to use.

#include "actors/output.hpp"
#include "runtime/lookup_window.hpp"
#include "runtime/text_map.hpp"

#include <set>
#include <unordered_map>

#include <caf/stateful_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

namespace fxfarm::actors {

struct submit_graph {
  std::uint64_t id = 0;
  std::shared_ptr<graph_request> request;
};
// How the start of the local farm went.
struct local_started {
  std::shared_ptr<const result<void>> outcome;
};
// Time to look whether the local farm has come up.
struct local_check {};
// Time to ask a farm for graphs that wait though others have not been answered.
struct ask_on {
  std::string farm;
  std::uint64_t link = 0;  // of that farm's, the one that was up then
};

using client_actor =
    caf::typed_actor<caf::reacts_to<link_events>, caf::reacts_to<farm_found>, caf::reacts_to<submit_graph>,
                     caf::reacts_to<release_graph>, caf::reacts_to<roll_back_graph>, caf::reacts_to<to_farm>,
                     caf::reacts_to<fall_back>, caf::reacts_to<graph_settled>, caf::reacts_to<local_started>,
                     caf::reacts_to<local_check>, caf::reacts_to<ask_on>, caf::reacts_to<drain>>;

struct client_settings {
  bool has_farm = false;       // farm_found will say where it is; otherwise there is the local farm only
  std::string local_endpoint;  // empty: no local farm
  // Starts the local farm if it does not run, and calls back, once, on any thread, when it has started (not yet when it
  // answers) or could not. It must not wait for that itself.
  std::function<void(std::function<void(result<void>)>)> start_local;
  std::string space;
  std::string salt;
  std::shared_ptr<net::connector> links;
  std::shared_ptr<board> log;
  monitoring::client_probe* probe = nullptr;          // outlives the actors
  std::shared_ptr<const signature_check> signatures;  // see output_options
  std::function<void(load_task)> load;
  std::function<void()> failed = [] {};                                   // see client::start
  std::function<void(switch_notice)> told = [](const switch_notice&) {};  // likewise
};

class client_state {
public:
  using pointer = client_actor::stateful_pointer<client_state>;
  static inline const char* name = "client";

  client_state() = default;
  ~client_state();
  void start(pointer self, client_settings settings);
  void handle(const link_events& events);
  void find_farm(const farm_found& m);
  void submit(const submit_graph& m);
  void release(std::uint64_t id);
  void roll_back(const roll_back_graph& m);
  void forward(const to_farm& m);
  void fall_back_to_local(const fall_back& m);
  void settle(std::uint64_t id);
  void local_farm_started(const result<void>& outcome);
  void check_local();
  void ask_later(const ask_on& m);
  void end();

private:
  struct graph {
    std::string key;
    std::string farm;  // endpoint; empty: none can be reached
    output_actor output;
    bool settled = false;
    bool local_only = false;                     // its farm could not serve it
    std::shared_ptr<const net::message> lookup;  // that waits for its turn
  };
  // A farm whose link is up.
  struct farm_link {
    std::string scope;  // see net::welcome
    lookup_window asking;
    bool later_armed = false;
    std::uint64_t number = 0;
  };

  void farm_came(const net::peer_id& farm, const std::string& scope);
  void farm_went(const net::peer_id& farm, const error& why);
  void deliver(const net::inbound& in);
  // Asks for as many graphs of those that wait as the farm's window has room for.
  void ask(const std::string& farm, farm_link& link);
  // The farm that a graph belongs to now: rendezvous hashing over the endpoints that are not known to be down, else the
  // local farm, else none. None, too, while the farm is being looked for.
  std::string route(const graph& g) const;
  void assign(graph& g, std::string farm);
  void need_local();
  void connect_local();
  // Nobody in this process waits for the graph any longer.
  void release_stages(const graph& g, std::uint64_t id);
  bool another_waits(const graph& g, std::uint64_t id) const;  // a graph with the same key, at the same farm
  bool someone_waits_for(const std::string& farm) const;

  client_actor::pointer self_ = nullptr;
  client_settings settings_;
  std::shared_ptr<gate<client_actor>> starts_;  // whoever starts a local farm may be slower than the whole client
  std::unordered_map<std::uint64_t, graph> graphs_;
  text_map<std::set<std::uint64_t>> by_key_;
  std::optional<farm_found> farm_;       // once it is known
  std::map<std::string, farm_link> up_;  // by endpoint
  std::uint64_t links_made_ = 0;
  std::map<std::string, error> down_;  // endpoints that could not be reached, until they are up
  std::chrono::milliseconds local_delay_{0};
  bool local_starting_ = false;
  bool local_check_armed_ = false;
};

client_actor::behavior_type client_behavior(client_state::pointer self, client_settings settings);

}  // namespace fxfarm::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::submit_graph)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::local_started)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::local_check)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(fxfarm::actors::ask_on)
