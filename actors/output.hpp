#pragma once
// One graph of a client: ranks its stages, hands the best that is ready to the loader, tells the board. It asks the
// farm again after an outage, and for a fresh artifact when one cannot be loaded.

#include "actors/board.hpp"
#include "actors/gate.hpp"
#include "actors/messages.hpp"
#include "monitoring/metrics.hpp"
#include "runtime/signature_check.hpp"
#include "runtime/stage_plan.hpp"

#include <caf/stateful_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

namespace fxfarm::actors {

using output_actor = caf::typed_actor<caf::reacts_to<farm_message>, caf::reacts_to<resubscribe>,
                                      caf::reacts_to<retry_lookup>, caf::reacts_to<farm_lost>,
                                      caf::reacts_to<load_result>, caf::reacts_to<rolled_back>, caf::reacts_to<tick>>;
// Whoever links output actors to farms, in practice the client actor.
using output_owner =
    caf::typed_actor<caf::reacts_to<to_farm>, caf::reacts_to<fall_back>, caf::reacts_to<graph_settled>>;

struct output_options {
  std::uint64_t id = 0;
  graph_request request;
  std::string salt;
  std::string space;
  std::string fallback;  // the farm that is asked when another cannot serve the graph; empty: none
  std::shared_ptr<board> log;
  monitoring::client_probe* probe = nullptr;  // outlives the actor
  // What must vouch for an artifact before it is loaded; null: nothing. What `fallback` sends needs nobody: the local
  // farm is this user's own.
  std::shared_ptr<const signature_check> signatures;
  std::function<void(load_task)> load;
  std::function<void()> failed = [] {};  // see client::start
  std::function<std::chrono::steady_clock::time_point()> now = [] { return std::chrono::steady_clock::now(); };
};

class output_state {
public:
  using pointer = output_actor::stateful_pointer<output_state>;
  static inline const char* name = "output";

  output_state() = default;
  ~output_state();
  void start(pointer self, output_owner owner, output_options options);
  void handle(const farm_message& m);
  // At a farm that knows this client's artifacts by that scope.
  void subscribe_within(const std::string& scope);
  void lose_farm(const error& why);
  void finish_load(const load_result& m);
  void roll_back(const rolled_back& m);
  void ask_again();
  void retry();

private:
  void subscribe();
  std::string key_of(const stage_spec& stage) const;
  void on(const net::need_graph& m);
  void on(const net::stage_progress& m);
  void on(const net::stage_ready& m, const net::inbound& in);
  // Why what came must not be loaded, if it must not.
  std::optional<error> distrust(const net::stage_ready& m, const net::inbound& in) const;
  void refuse(const net::stage_ready& m, const std::vector<std::size_t>& stages, const error& why);
  void on(const net::stage_failed& m);
  // Stages with equal options share a key.
  std::vector<std::size_t> stages_of(const std::string& stage_key) const;
  void fail(std::size_t stage, const error& why);
  void fail_load(std::size_t stage, const error& why);
  double seconds() const;  // since the graph was submitted
  void load_next();
  void send(net::message what, blob attachment = nullptr);
  void publish();

  output_actor::pointer self_ = nullptr;
  output_owner owner_;
  std::shared_ptr<gate<output_actor>> answers_;  // of loaders, who may be slower than the whole client
  output_options options_;
  std::string scope_;
  stage_plan plan_{0};
  graph_status status_;
  std::vector<blob> artifacts_;          // by stage, from arrival to load
  std::vector<unsigned> load_attempts_;  // by stage
  std::vector<std::string> refused_;     // stage keys whose artifact could not be loaded
  std::chrono::steady_clock::time_point submitted_;
  std::chrono::steady_clock::time_point load_started_;
  std::string abandoned_farm_;  // that could not serve the graph; what it still says is void
  bool tick_armed_ = false;
  bool retry_armed_ = false;
};

output_actor::behavior_type output_behavior(output_state::pointer self, output_owner owner, output_options options);

}  // namespace fxfarm::actors
