#include "cli/shared_store.hpp"

#include "monitoring/log.hpp"
#include "runtime/secret_file.hpp"

namespace fxfarm::cli {
namespace {

result<redis_client_options> client_options(const redis_config& config) {
  redis_client_options options;
  auto target = parse_redis_url(config.url);
  if (!target) return target.failure().with_context("redis");
  options.target = *std::move(target);
  options.timeout = config.timeout;
  if (!config.password_file.empty()) {
    auto password = read_secret(
        {.option = "redis_password_file", .path = config.password_file, .bytes_max = limits::redis_password_bytes_max});
    if (!password) return password.failure();
    options.target.password = *std::move(password);
  }
  if (options.target.tls) {
    auto tls = redis_tls::load({config.ca_file, config.cert_file, config.key_file});
    if (!tls) return tls.failure().with_context("redis_ca_file, redis_cert_file, redis_key_file");
    options.tls = *std::move(tls);
  }
  return options;
}

shared_tier_events events_to(monitoring::redis_probe& probe) {
  shared_tier_events events;
  events.breaker = [&probe, was = breaker_state::closed](breaker_state state, const error& why) mutable {
    probe.breaker_now(to_string(state));
    // While Redis is away each probe opens the breaker again: once is enough to read.
    if (state == breaker_state::open && was == breaker_state::closed) {
      probe.breaker_opened();
      log::warning("redis is left alone until it answers again", {{"why", to_string(why)}});
    }
    if (state == breaker_state::closed && was != breaker_state::closed) log::info("redis answers again");
    if (state != breaker_state::half_open) was = state;
  };
  events.queue = [&probe](std::uint64_t bytes, std::size_t entries) {
    probe.queue_now(static_cast<double>(bytes), static_cast<double>(entries));
  };
  events.written = [&probe] { probe.written(); };
  events.dropped = [&probe](std::string_view reason) { probe.dropped(reason); };
  events.took = [&probe](std::string_view operation, double seconds) { probe.took(operation, seconds); };
  return events;
}

}  // namespace

store_reporter report_to(monitoring::store_probe& probe) {
  store_reporter reporter;
  reporter.queried = [&probe](std::string_view tier) { probe.queried(tier); };
  reporter.hit = [&probe](std::string_view tier) { probe.hit(tier); };
  reporter.failed = [&probe](std::string_view tier, const error& why) {
    probe.failed(tier);
    log::warning("store", {{"tier", tier}, {"why", to_string(why)}});
  };
  reporter.untrusted = [&probe](std::string_view tier, std::string_view reason, const error* why) {
    probe.untrusted(tier, reason);
    if (why != nullptr) log::warning("store: dropped", {{"tier", tier}, {"why", to_string(*why)}});
  };
  reporter.evicted = [&probe](std::string_view tier, std::uint64_t n) { probe.evicted(tier, static_cast<double>(n)); };
  reporter.resized = [&probe](std::string_view tier, std::uint64_t n) { probe.size_now(tier, static_cast<double>(n)); };
  return reporter;
}

result<void> ping_redis(const redis_config& config) {
  auto connecting = client_options(config);
  if (!connecting) return connecting.failure();
  redis_store redis(std::make_unique<redis_client>(*connecting),
                    redis_store_options{config.prefix, config.ttl, config.value_bytes});
  return redis.ping();
}

std::string shown_url(const redis_config& config) {
  const auto target = parse_redis_url(config.url);
  return target ? to_string(*target) : std::string("redis");
}

result<std::shared_ptr<shared_tier>> open_shared_tier(const redis_config& config, monitoring::metrics& metrics,
                                                      std::shared_ptr<const signature_check> signatures,
                                                      bool only_reads) {
  if (config.url.empty()) return std::shared_ptr<shared_tier>();
  auto connecting = client_options(config);
  if (!connecting) return connecting.failure();
  const auto open = [&] {
    return std::make_unique<redis_store>(std::make_unique<redis_client>(*connecting),
                                         redis_store_options{config.prefix, config.ttl, config.value_bytes});
  };
  shared_tier_options options;
  options.queue_bytes_max = config.queue_bytes;
  options.queue_entries_max = limits::redis_queue_entries_max;
  options.read_max = limits::redis_read_max;
  options.slow = config.timeout / 2;
  options.breaker = {limits::redis_failures_max, limits::redis_probe_delay_min, limits::redis_probe_delay_max};
  options.signatures = std::move(signatures);
  options.only_reads = only_reads;
  metrics.store().has_tier(shared_tier::name);
  log::info("redis", {{"url", to_string(connecting->target)}});
  return std::make_shared<shared_tier>(open(), open(), options,
                                       std::make_shared<const store_reporter>(report_to(metrics.store())),
                                       events_to(metrics.redis()));
}

}  // namespace fxfarm::cli
