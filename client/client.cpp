#include "client/client.hpp"

#include "actors/client.hpp"
#include "actors/relay.hpp"
#include "actors/system.hpp"
#include "client/local_farm.hpp"
#include "fxfarm_version.hpp"
#include "monitoring/exposer.hpp"
#include "monitoring/log.hpp"
#include "net/curve.hpp"
#include "net/dialer.hpp"
#include "net/resolver.hpp"
#include "runtime/chore.hpp"
#include "runtime/digest.hpp"
#include "runtime/limits.hpp"
#include "runtime/options.hpp"
#include "runtime/paths.hpp"
#include "runtime/process_id.hpp"
#include "runtime/signature_check.hpp"

#include <algorithm>
#include <atomic>

#include <unistd.h>

namespace fxfarm {
namespace {

using actors::client_actor;

// One thread is enough: actors of a client only pass messages on.
constexpr std::size_t actor_threads = 1;

net::hello introduce() {
  net::hello self;
  self.role = "client";
  self.host = host_name();
  self.pid = static_cast<std::uint64_t>(::getpid());
  self.id = process_id("client-" + self.host);
  self.build = build_text;
  return self;
}

result<void> check(const client_options& options) {
  for (const auto& endpoint : options.endpoints) {
    if (!is_farm_endpoint(endpoint)) {
      return {errc::bad_input,
              "endpoint '" + endpoint + "': expected tcp://HOST:PORT, dns+tcp://NAME:PORT or ipc:///PATH"};
    }
    if (options.insecure || stays_on_host(endpoint)) continue;
    if (options.key.empty()) {
      return {errc::bad_input, "endpoint '" + endpoint +
                                   "' leaves this host and would not be encrypted, and what comes from there is run; "
                                   "give secret_key and server_public_key, or accept that with insecure"};
    }
    if (options.signers.empty()) {
      return {errc::bad_input, "endpoint '" + endpoint +
                                   "' leaves this host, and whatever comes from there would be run, whoever made it; "
                                   "give signers, a file with a line `signer * KEY` for each worker's key, or accept "
                                   "that with insecure"};
    }
  }
  if (options.endpoints.empty() && options.local_endpoint.empty()) {
    return {errc::bad_input, "neither an endpoint nor a local farm is named"};
  }
  return {};
}

bool leaves_unprotected(const client_options& options) {
  return (options.key.empty() || options.signers.empty()) &&
         !std::all_of(options.endpoints.begin(), options.endpoints.end(), stays_on_host);
}

// Null when nobody's word is asked for.
result<std::shared_ptr<const signature_check>> signatures_of(const client_options& options) {
  if (options.signers.empty()) return std::shared_ptr<const signature_check>();
  return signature_check::of_file("signers", options.signers,
                                  [](const error& why) { log::error("signers stay as they were: " + why.message); });
}

result<void> check(const graph_request& request) {
  if (!is_digest(request.graph_key)) return {errc::bad_input, "graph_key: expected 64 lower-case hex digits"};
  if (!request.graph) return {errc::bad_input, "graph: missing"};
  if (request.graph->size() > limits::attachment_bytes_max) {
    return {errc::too_large, "graph: " + std::to_string(request.graph->size()) + " bytes, at most " +
                                 std::to_string(limits::attachment_bytes_max) + " can be sent"};
  }
  if (request.stages.empty() || request.stages.size() > limits::stages_per_graph_max) {
    return {errc::bad_input, "stages: 1 to " + std::to_string(limits::stages_per_graph_max) + " are allowed"};
  }
  return {};
}

monitoring::client_counters count(const actors::board& log, const call_counts& calls) {
  monitoring::client_counters out;
  out.counted = log.totals();
  for (const auto& graph : log.graphs()) {
    ++out.graphs[graph.stage];
    if (!graph.settled) ++out.graphs_waiting;
  }
  out.eager_calls = calls.eager;
  out.compiled_calls = calls.compiled;
  return out;
}

}  // namespace

struct client::impl {
  explicit impl(client_options o) : options(std::move(o)), config(actor_threads), system(config) {}

  client_options options;
  monitoring::metrics metrics{build_text, "client"};
  std::unique_ptr<monitoring::exposer> page;
  std::unique_ptr<chore> warning;  // null: what it loads is protected
  actors::system_config config;
  caf::actor_system system;
  std::shared_ptr<actors::board> log = std::make_shared<actors::board>();
  std::shared_ptr<actors::relay<client_actor>> inbox = std::make_shared<actors::relay<client_actor>>();
  std::shared_ptr<net::dialer> links;
  client_actor self;
  std::unique_ptr<net::resolver> names;
  std::atomic<std::uint64_t> ids{0};

  // As the roles do, for as long as it is so.
  void warn_if_unprotected() {
    if (!leaves_unprotected(options)) return;
    const auto warn = [keyed = !options.key.empty()] {
      log::warning(keyed ? "insecure: what comes from the farm is run here, whoever made it, since there are no signers"
                         : "insecure: what comes from the farm is run here, and nothing on the way is encrypted or "
                           "checked");
    };
    warn();
    warning = std::make_unique<chore>(limits::insecure_warning_period, warn);
  }

  // A model runs as well without.
  void serve_metrics() {
    if (options.metrics.empty()) return;
    metrics.insecure_now(leaves_unprotected(options));
    metrics.watch_link([l = links] { return l->counters().read(); });
    metrics.watch_client([l = log, calls = options.calls] { return count(*l, calls()); });
    metrics.ready()->lacks("role", {});
    std::string problem;
    page = monitoring::exposer::start(metrics, options.metrics, problem);
    if (!page) log::warning("metrics: " + problem);
  }
};

client::client(std::unique_ptr<impl> i) : impl_(std::move(i)) {}

result<std::unique_ptr<client>> client::start(client_options options, std::function<void(load_task)> load,
                                              std::function<void()> failed, std::function<void(switch_notice)> told) {
  if (auto usable = check(options); !usable) return usable.failure();
  auto keys = net::read_presenting(options.key, options.server_public_key);
  if (!keys) return keys.failure();
  auto signatures = signatures_of(options);
  if (!signatures) return signatures.failure();
  auto i = std::make_unique<impl>(std::move(options));
  net::dialer_options dialing;
  dialing.self = introduce();
  dialing.keys = *std::move(keys);
  if (dialing.keys) dialing.keys->plain.insert(i->options.local_endpoint);
  auto dialer = net::dialer::start(std::move(dialing), actors::relay<client_actor>::sink(i->inbox));
  if (!dialer) return dialer.failure();
  i->links = std::move(*dialer);
  i->warn_if_unprotected();
  i->serve_metrics();

  actors::client_settings settings;
  settings.has_farm = !i->options.endpoints.empty();
  settings.local_endpoint = i->options.local_endpoint;
  if (!i->options.local_command.empty()) {
    settings.start_local = [command = i->options.local_command](std::function<void(result<void>)> done) {
      start_local_farm_apart(command, std::move(done));
    };
  }
  settings.space = i->options.space;
  settings.salt = i->options.salt;
  settings.links = i->links;
  settings.log = i->log;
  settings.probe = &i->metrics.client();
  settings.signatures = *std::move(signatures);
  settings.load = std::move(load);
  settings.failed = std::move(failed);
  settings.told = std::move(told);
  i->self = i->system.spawn(actors::client_behavior, std::move(settings));
  i->inbox->bind(i->self);
  net::resolver_options resolving;
  resolving.endpoints = i->options.endpoints;
  resolving.changed = [self = i->self](std::vector<std::string> endpoints, std::string problem) {
    caf::anon_send(self, actors::farm_found{std::move(endpoints), std::move(problem)});
  };
  i->names = std::make_unique<net::resolver>(std::move(resolving));
  // Whichever thread ends the client does not wait for this one.
  actors::let_go_of_system();
  return std::unique_ptr<client>(new client(std::move(i)));
}

client::~client() {
  if (!impl_) return;
  impl_->page.reset();
  impl_->warning.reset();
  impl_->names.reset();
  impl_->inbox->unbind();
  impl_->links->stop();
  caf::anon_send(impl_->self, actors::drain{});
  impl_->self = nullptr;
}

result<std::uint64_t> client::submit(graph_request request) {
  if (auto usable = check(request); !usable) return usable.failure().with_context(request.name);
  const auto id = ++impl_->ids;
  // Known from here on, so that a wait that follows waits for it.
  graph_status status;
  status.id = id;
  status.graph_key = request.graph_key;
  status.name = request.name;
  for (const auto& stage : request.stages) {
    stage_status s;
    s.name = stage.name;
    status.stages.push_back(std::move(s));
  }
  impl_->log->add(std::move(status));
  caf::anon_send(impl_->self, actors::submit_graph{id, std::make_shared<graph_request>(std::move(request))});
  return id;
}

void client::release(std::uint64_t graph) {
  caf::anon_send(impl_->self, actors::release_graph{graph});
}

void client::roll_back(std::uint64_t graph, std::size_t stage, error why) {
  caf::anon_send(impl_->self, actors::roll_back_graph{graph, {stage, std::move(why)}});
}

void client::arm(std::uint64_t graph, switch_report r) {
  auto status = impl_->log->find(graph);
  if (!status) return;
  net::stage_armed m{status->graph_key, std::move(r.job), std::move(r.group), r.rank, r.world, std::move(r.stage_key),
                     r.stage,           r.calls,          r.calls_per_second};
  caf::anon_send(impl_->self, actors::to_farm{graph, std::make_shared<const net::message>(std::move(m)), nullptr});
}

void client::vote(std::uint64_t graph, switch_answer a) {
  net::switch_vote m{std::move(a.group), std::move(a.round), a.yes, a.calls, a.calls_per_second};
  caf::anon_send(impl_->self, actors::to_farm{graph, std::make_shared<const net::message>(std::move(m)), nullptr});
}

client::wait_result client::wait(const std::string& stage, std::chrono::milliseconds timeout) {
  return impl_->log->wait(stage, timeout);
}

std::vector<graph_status> client::graphs() const {
  return impl_->log->graphs();
}

std::map<std::string, std::uint64_t> client::stats() const {
  return impl_->log->stats();
}

void client::reset_stats() {
  impl_->log->reset_stats();
}

std::string client::metrics_address() const {
  return impl_->page ? impl_->page->address() : std::string();
}

void client::abandon() {
  static_cast<void>(impl_.release());
}

}  // namespace fxfarm
