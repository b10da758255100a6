#pragma once
// What every role's process has: signals, log, metrics, actors. And the two halves that roles are made of.

#include "actors/coordinator.hpp"
#include "actors/relay.hpp"
#include "actors/system.hpp"
#include "actors/worker.hpp"
#include "cli/farm_page.hpp"
#include "cli/protection.hpp"
#include "cli/signals.hpp"
#include "monitoring/exposer.hpp"
#include "net/dialer.hpp"
#include "net/resolver.hpp"
#include "net/router.hpp"
#include "runtime/config.hpp"

#include <future>
#include <memory>
#include <string>

namespace fxfarm::cli {

// Order matters: signals are taken over before any thread starts, actors end before what they use.
class service {
public:
  // What it shows over HTTP.
  struct showing {
    std::string address;             // empty: nothing
    std::string metrics_token_file;  // empty: none
    const farm_config* farm;         // null: a role without a coordinator, which has no status page
    bool insecure = false;           // of the coordinator's options
  };
  // Errors: bad_config for the log and the tokens, io for a metrics address that cannot be had.
  static result<std::unique_ptr<service>> start(const std::string& role, const common_config& config,
                                                const showing& what);

  // The role has all that it needs of this process: /readyz says so until the order to stop.
  void serve();
  // Blocks until then; tells why.
  std::string wait_for_stop();

  stop_order& stop() { return *stop_; }
  monitoring::metrics& metrics() { return *metrics_; }
  std::string metrics_address() const { return exposer_ ? exposer_->address() : "off"; }
  // Null: the role has none.
  farm_page* page() { return page_.get(); }
  caf::actor_system& actors() { return *system_; }

private:
  service() = default;
  result<void> open_http(const showing& what);

  std::unique_ptr<stop_order> stop_;
  std::unique_ptr<monitoring::metrics> metrics_;
  std::unique_ptr<farm_page> page_;
  std::unique_ptr<monitoring::exposer> exposer_;
  std::unique_ptr<chore> page_warning_;
  std::unique_ptr<actors::system_config> system_config_;
  std::unique_ptr<caf::actor_system> system_;
};

// A coordinator with its store and its socket.
class coordinator_half {
public:
  struct options {
    farm_config farm;
    std::vector<std::string> endpoints;
    std::string role;
    std::chrono::milliseconds idle_timeout{0};
    std::optional<coordinator_keys> keys = {};
    // Without keys: what Redis has must pass it; null: whatever Redis has is taken.
    std::shared_ptr<const signature_check> shared_signatures = {};
  };
  // Errors: io for a cache directory or an endpoint that cannot be had.
  static result<std::unique_ptr<coordinator_half>> start(service& host, const options& o);
  ~coordinator_half();

  const std::vector<std::string>& endpoints() const { return router_->endpoints(); }
  // Finishes what runs, within limits::drain_max, and ends.
  void drain();

private:
  coordinator_half() = default;

  service* host_ = nullptr;
  std::shared_ptr<actors::relay<actors::coordinator_actor>> inbox_;
  std::shared_ptr<net::router> router_;
  std::unique_ptr<chore> key_watch_;     // null: keys are off
  std::shared_ptr<shared_tier> shared_;  // null: no Redis
  actors::store_actor store_;
  actors::coordinator_actor self_;
  std::future<void> ended_;
};

// A worker with its engines and its links.
class worker_half {
public:
  struct options {
    engine_config engine;
    std::vector<std::string> coordinators;
    std::string name;
    std::optional<net::presenting> keys = {};
    std::optional<artifact_signer> signer = {};
    std::shared_ptr<const signature_check> kernel_signers = {};  // see actors::worker_options
    std::vector<std::string> secrets = {};                       // files and directories that engines must not see
    bool link_in_metrics = true;  // false: a process shows one link, and the coordinator's half has it
  };
  static result<std::unique_ptr<worker_half>> start(service& host, const options& o);
  ~worker_half();

  void drain();

private:
  worker_half() = default;

  std::shared_ptr<actors::relay<actors::worker_actor>> inbox_;
  std::shared_ptr<net::dialer> dialer_;
  actors::worker_actor self_;
  std::unique_ptr<net::resolver> names_;
  std::future<void> ended_;
};

}  // namespace fxfarm::cli
