#include "cli/service.hpp"

#include "cli/engine_sandbox.hpp"
#include "cli/shared_store.hpp"
#include "fxfarm_version.hpp"
#include "monitoring/log.hpp"
#include "runtime/paths.hpp"
#include "runtime/process_id.hpp"
#include "runtime/secret_file.hpp"
#include "runtime/store.hpp"
#include "runtime/work_directory.hpp"

#include <filesystem>
#include <system_error>

#include <unistd.h>

namespace fxfarm::cli {
namespace {

constexpr std::size_t actor_threads = 2;

result<void> start_log(const common_config& config) {
  std::string problem;
  auto level = log::parse_level(config.log_level, problem);
  auto format = log::parse_format(config.log_format, problem);
  if (!level || !format) return {errc::bad_config, problem};
  log::init(*level, *format);
  return {};
}

result<std::shared_ptr<store>> open_store(const farm_config& config, monitoring::store_probe& probe,
                                          std::shared_ptr<const signature_check> signatures) {
  store_options options;
  if (config.cache_bytes > 0) options.directory = config.cache_dir;
  options.disk_bytes = config.cache_bytes;
  options.memory_bytes = config.memory_bytes;
  probe.limit_is("disk", static_cast<double>(config.cache_bytes));
  probe.limit_is("memory", static_cast<double>(config.memory_bytes));
  auto opened = store::open(options, report_to(probe), std::move(signatures));
  if (!opened) return opened.failure();
  return std::shared_ptr<store>(std::move(*opened));
}

// Empty for no file.
result<std::string> token_of(const std::string& option, const std::string& file) {
  return file.empty() ? result<std::string>(std::string()) : read_token(option, file);
}

result<std::unique_ptr<farm_page>> make_page(const service::showing& what, monitoring::metrics& metrics) {
  farm_page_options options;
  options.probe = &metrics.page();
  auto admin = token_of("admin_token_file", what.farm->admin_token_file);
  if (!admin) return admin.failure();
  auto page = token_of("page_token_file", what.farm->page_token_file);
  if (!page) return page.failure();
  options.reading = reading_at(what.address, !page->empty(), !admin->empty(), what.insecure);
  options.admin_token = *std::move(admin);
  options.page_token = *std::move(page);
  return std::make_unique<farm_page>(std::move(options));
}

// On the thread of whoever wants to know.
result<std::string> ask_actor(const actors::coordinator_actor& coordinator, const question& q) {
  auto told = std::make_shared<std::promise<net::answer>>();
  auto future = told->get_future();
  caf::anon_send(coordinator, actors::operator_question{q.what, q.arguments, [told = std::move(told)](net::answer a) {
                                                          told->set_value(std::move(a));
                                                        }});
  if (future.wait_for(limits::page_reply_max) != std::future_status::ready) {
    return {errc::timeout, "the coordinator has not answered in time"};
  }
  try {
    auto answer = future.get();
    if (answer.code == to_string(errc::none)) return std::move(answer.document);
    return {errc_from_string(answer.code), std::move(answer.reason)};
  } catch (const std::future_error&) {
    return {errc::unreachable, "the coordinator has ended"};
  }
}

// A promise that an actor keeps when it ends, and what waits for it.
std::pair<std::function<void()>, std::future<void>> ending() {
  auto promise = std::make_shared<std::promise<void>>();
  auto future = promise->get_future();
  return {[promise] { promise->set_value(); }, std::move(future)};
}

// Lets an actor finish, and insists when that takes too long.
template <class Handle>
void drain_actor(const Handle& self, const std::future<void>& ended) {
  caf::anon_send(self, actors::drain{});
  if (ended.wait_for(limits::drain_max) == std::future_status::ready) return;
  log::warning("what runs is dropped: it did not end in time");
  caf::anon_send(self, actors::drain{true});
  ended.wait_for(limits::drain_max);
}

actors::engine_settings engines_of(const engine_config& c, const engine_room& room,
                                   std::shared_ptr<const work_directory> scratch) {
  actors::engine_settings out;
  auto& process = out.process;
  process.argv = {room.python, "-m", "fxfarm.engine"};
  // This program, also when its file has been replaced meanwhile.
  process.guard = {"/proc/self/exe", "fxfarm", "guard"};
  process.cpus = last_cpus(c.engine_cores);
  process.environment["FXFARM_COMPILE_THREADS"] = std::to_string(c.compile_threads);
  process.environment["FXFARM_ENGINE_CACHE_BYTES"] = std::to_string(c.engine_cache_bytes);
  process.environment["FXFARM_ENGINE_PACKAGES"] = c.engine_packages;
  // Its home is elsewhere in a sandbox.
  if (!room.python_user_base.empty()) process.environment["PYTHONUSERBASE"] = room.python_user_base;
  process.scratch = std::move(scratch);
  process.nice = static_cast<int>(c.nice);
  process.open_files = c.engine_open_files;
  process.file_bytes = c.engine_file_bytes;
  process.confinement = room.box;
  out.bounds = {c.engine_memory_bytes, c.engine_cpu_time, c.engine_processes, c.engine_disk_bytes};
  out.cache_directory = c.engine_cache_dir;
  return out;
}

}  // namespace

// --- service ---------------------------------------------------------------------------------------------------------

result<std::unique_ptr<service>> service::start(const std::string& role, const common_config& config,
                                                const showing& what) {
  std::unique_ptr<service> s(new service);
  auto stop = stop_order::take_over();
  if (!stop) return stop.failure();
  s->stop_ = std::move(*stop);
  if (auto logging = start_log(config); !logging) return logging.failure();
  s->metrics_ = std::make_unique<monitoring::metrics>(build_text, role);
  if (auto opened = s->open_http(what); !opened) return opened.failure();
  s->system_config_ = std::make_unique<actors::system_config>(actor_threads);
  s->system_ = std::make_unique<caf::actor_system>(*s->system_config_);
  return s;
}

result<void> service::open_http(const showing& what) {
  monitoring::exposer_access access;
  if (what.farm != nullptr) {
    auto page = make_page(what, *metrics_);
    if (!page) return page.failure();
    page_ = *std::move(page);
    access.names = what.farm->page_hosts;
    access.misnamed = [&probe = metrics_->page()] { probe.refused("name"); };
  }
  auto token = token_of("metrics_token_file", what.metrics_token_file);
  if (!token) return token.failure();
  if (!token->empty()) access.scraping = metrics_gate(*std::move(token), metrics_->page());
  if (what.address.empty()) return {};
  std::string problem;
  exposer_ = monitoring::exposer::start(*metrics_, what.address, problem,
                                        page_ ? page_->routes() : monitoring::http_routes{}, std::move(access));
  if (!exposer_) return {errc::io, "metrics: " + problem};
  if (what.farm != nullptr) {
    page_warning_ = warn_if_page_is_open(*what.farm, what.address, what.insecure, *metrics_);
  }
  return {};
}

void service::serve() {
  metrics_->ready()->lacks("role", {});
}

std::string service::wait_for_stop() {
  auto why = stop_->wait();
  metrics_->ready()->lacks("role", "it is stopping: " + why);
  return why;
}

// --- coordinator -----------------------------------------------------------------------------------------------------

result<std::unique_ptr<coordinator_half>> coordinator_half::start(service& host, const options& o) {
  std::unique_ptr<coordinator_half> half(new coordinator_half);
  half->host_ = &host;
  auto& metrics = host.metrics();
  const auto signatures = o.keys ? o.keys->signatures() : nullptr;
  auto kept = open_store(o.farm, metrics.store(), signatures);
  if (!kept) return kept.failure();
  // A local farm with signers signs nothing itself, and has no say in what others keep.
  const bool only_reads = !signatures && o.shared_signatures;
  auto shared = open_shared_tier(o.farm.redis, metrics, signatures ? signatures : o.shared_signatures, only_reads);
  if (!shared) return shared.failure();
  half->shared_ = *std::move(shared);

  half->inbox_ = std::make_shared<actors::relay<actors::coordinator_actor>>();
  net::router_options routing;
  routing.endpoints = o.endpoints;
  routing.id = process_id(o.role + "-" + host_name());
  routing.build = build_text;
  const auto id = routing.id;
  if (o.keys) routing.accept = o.keys->accept();
  routing.quotas = {o.farm.messages_per_key, o.farm.connections_per_key};
  routing.quota_passed = [&probe = metrics.coordinator()](std::string_view what) { probe.quota_passed(what); };
  auto router = net::router::start(std::move(routing), actors::relay<actors::coordinator_actor>::sink(half->inbox_));
  if (!router) return router.failure();
  half->router_ = std::move(*router);
  if (o.keys) {
    half->key_watch_ = watch_keys(o.keys->book, metrics.access(), [who = half->router_, at = *kept] {
      who->recheck();
      at->drop_untrusted();
    });
  }
  metrics.watch_link([r = half->router_] { return r->counters().read(); });

  half->store_ = host.actors().spawn(actors::store_behavior, *kept, half->shared_);
  auto [on_end, ended] = ending();
  half->ended_ = std::move(ended);
  actors::coordinator_options options;
  options.settings.id = id;
  options.settings.role = o.role;
  options.settings.version = build_text;
  options.settings.pid = static_cast<std::uint64_t>(::getpid());
  options.settings.salt = o.farm.salt;
  if (o.keys) options.settings.lease_secret = o.keys->server.secret_key;
  options.settings.signatures = signatures;
  options.settings.jobs.deadline = o.farm.job_deadline;
  options.settings.jobs.attempts_max = o.farm.job_attempts;
  options.settings.jobs.jobs_per_account_max = o.farm.jobs_per_key;
  options.settings.kernels_per_job = o.farm.kernels_per_job;
  options.settings.accounts = {o.farm.graph_bytes_per_key, o.farm.lookups_per_key};
  options.settings.history_graphs = o.farm.history_graphs;
  options.settings.history_bytes = o.farm.history_bytes;
  options.settings.endpoints = half->router_->endpoints();
  options.settings.metrics = host.metrics_address();
  options.link = half->router_;
  options.artifacts = half->store_;
  options.find_in_memory = [at = *kept](const std::string& stage_key) { return at->get_at_once(stage_key); };
  options.probe = &metrics.coordinator();
  options.statistics = {[&metrics] { return metrics.snapshot(); }, [&metrics] { metrics.reset(); }};
  options.idle_timeout = o.idle_timeout;
  options.on_end = [on_end = on_end, &host] {
    on_end();
    host.stop().request("idle");
  };
  half->self_ = host.actors().spawn(actors::coordinator_behavior, std::move(options));
  half->inbox_->bind(half->self_);
  host.page()->open([self = half->self_](const question& q) { return ask_actor(self, q); });
  return half;
}

void coordinator_half::drain() {
  drain_actor(self_, ended_);
  // Artifacts may still be on their way to those who waited for them.
  router_->stop(limits::drain_max);
  if (shared_ && !shared_->flush(std::chrono::steady_clock::now() + limits::drain_max)) {
    log::warning("not all artifacts have reached redis");
  }
}

coordinator_half::~coordinator_half() {
  if (host_) host_->page()->close();
  key_watch_.reset();
  // First: its thread may wait for an actor that has never come.
  if (inbox_) inbox_->unbind();
  if (router_) router_->stop();
  if (self_) caf::anon_send(self_, actors::drain{true});
  if (shared_) shared_->stop();  // here, since no thread of its own may be the last to hold it
  if (store_) caf::anon_send_exit(store_, caf::exit_reason::user_shutdown);
  if (host_) host_->metrics().watch_link(nullptr);
}

// --- worker ----------------------------------------------------------------------------------------------------------

result<std::unique_ptr<worker_half>> worker_half::start(service& host, const options& o) {
  std::unique_ptr<worker_half> half(new worker_half);
  half->inbox_ = std::make_shared<actors::relay<actors::worker_actor>>();
  net::dialer_options dialing;
  dialing.self.role = "worker";
  dialing.self.host = host_name();
  dialing.self.pid = static_cast<std::uint64_t>(::getpid());
  dialing.self.id = process_id(o.name);
  dialing.self.build = build_text;
  dialing.keys = o.keys;
  auto dialer = net::dialer::start(std::move(dialing), actors::relay<actors::worker_actor>::sink(half->inbox_));
  if (!dialer) return dialer.failure();
  half->dialer_ = std::move(*dialer);

  // Holds the dialer for as long as there are metrics.
  if (o.link_in_metrics) host.metrics().watch_link([d = half->dialer_] { return d->counters().read(); });
  std::error_code no_temporary;
  const auto temporary = std::filesystem::temp_directory_path(no_temporary);
  if (no_temporary) return {errc::io, "directory of temporary files: " + no_temporary.message()};
  auto scratch = work_directory::make(temporary);
  if (!scratch) return scratch.failure().with_context("temporary files of engines");
  auto secrets = o.secrets;
  for (const auto& more : {o.engine.engine_cache_dir, (*scratch)->path()}) secrets.push_back(more);
  // Only what is there can be hidden. What is wrong with it, engines tell when they start.
  (void)engine_cache::headers(o.engine.engine_cache_dir);
  auto room = open_engine_room(o.engine, secrets);
  if (!room) return room.failure();
  host.metrics().worker().engines_are_in(room->kind());
  if (!room->why_none.empty()) log::warning("engines run without a sandbox: " + room->why_none);

  auto [on_end, ended] = ending();
  half->ended_ = std::move(ended);
  actors::worker_options options;
  options.name = o.name;
  options.link = half->dialer_;
  options.slots = o.engine.slots;
  options.memory_bytes = o.engine.worker_memory_bytes;
  options.engine = engines_of(o.engine, *room, *std::move(scratch));
  const bool isolating = o.keys && !o.engine.engine_shared_by_namespaces;
  if (isolating) options.engine.first_tenant = engine_cache::tenant_to_expect(o.engine.engine_cache_dir);
  options.engines_shared = o.engine.engine_shared_by_namespaces;
  options.sandbox = room->told();
  options.signer = o.signer;
  options.kernel_signers = o.kernel_signers;
  options.probe = &host.metrics().worker();
  options.on_end = on_end;
  half->self_ = host.actors().spawn(actors::worker_behavior, std::move(options));
  half->inbox_->bind(half->self_);
  net::resolver_options resolving;
  resolving.endpoints = o.coordinators;
  resolving.changed = [self = half->self_](std::vector<std::string> endpoints, std::string problem) {
    caf::anon_send(self, actors::farm_found{std::move(endpoints), std::move(problem)});
  };
  half->names_ = std::make_unique<net::resolver>(std::move(resolving));
  return half;
}

void worker_half::drain() {
  drain_actor(self_, ended_);
  dialer_->stop(limits::drain_max);
}

worker_half::~worker_half() {
  names_.reset();
  if (self_) {
    caf::anon_send(self_, actors::drain{true});
    ended_.wait_for(limits::drain_max);
  }
  if (inbox_) inbox_->unbind();
  if (dialer_) dialer_->stop();
}

}  // namespace fxfarm::cli
