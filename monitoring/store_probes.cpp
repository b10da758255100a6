// What the store counts, tier by tier, and the families that it goes to.
#include "monitoring/families.hpp"
#include "monitoring/metrics.hpp"

namespace fxfarm::monitoring {

// --- store -----------------------------------------------------------------------------------------------------------

struct store_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  counters queries{book,
                   {"fxfarm_store_queries_total", "Questions to a tier of the store.", {"tier"}, "cache_queries", 0},
                   {{"memory"}, {"disk"}}};
  counters hits{book,
                {"fxfarm_store_hits_total", "Artifacts found in a tier.", {"tier"}, "cache_hits", 0},
                {{"memory"}, {"disk"}}};
  counters errors{book,
                  {"fxfarm_store_errors_total", "Operations of a tier that failed.", {"tier"}, "cache_errors", 0},
                  {{"memory"}, {"disk"}}};
  counters untrusted{
      book,
      {"fxfarm_store_untrusted_total",
       "Artifacts dropped from a tier since nobody vouches for them who is accepted.",
       {"tier", "reason"},
       "cache_untrusted",
       0},
      {{"memory", "unknown_signer"}, {"disk", "unsigned"}, {"disk", "unknown_signer"}, {"disk", "bad_signature"}}};
  counters evictions{
      book,
      {"fxfarm_store_evictions_total", "Artifacts that made room in a tier.", {"tier"}, "cache_evictions", 0},
      {{"memory"}, {"disk"}}};
  counters evicted_bytes{
      book,
      {"fxfarm_store_evicted_bytes_total", "Bytes that made room in a tier.", {"tier"}, "cache_evicted_bytes", 0},
      {{"memory"}, {"disk"}}};
  gauges sizes{
      book, {"fxfarm_store_bytes", "Bytes held by a tier.", {"tier"}, "cache_bytes", 0}, {{"memory"}, {"disk"}}};
  gauges limits{book,
                {"fxfarm_store_limit_bytes", "Bytes that a tier may hold; 0: none.", {"tier"}, "cache_limit_bytes", 0},
                {{"memory"}, {"disk"}}};
};

store_probe::store_probe(family_book& book) : impl_(std::make_unique<impl>(book)) {}
store_probe::~store_probe() = default;

void store_probe::queried(std::string_view tier) {
  impl_->queries.at({tier}).Increment();
}
void store_probe::hit(std::string_view tier) {
  impl_->hits.at({tier}).Increment();
}
void store_probe::failed(std::string_view tier) {
  impl_->errors.at({tier}).Increment();
}
void store_probe::untrusted(std::string_view tier, std::string_view reason) {
  impl_->untrusted.at({tier, reason}).Increment();
}
void store_probe::evicted(std::string_view tier, double bytes) {
  impl_->evictions.at({tier}).Increment();
  impl_->evicted_bytes.at({tier}).Increment(bytes);
}
void store_probe::size_now(std::string_view tier, double bytes) {
  impl_->sizes.at({tier}).Set(bytes);
}

void store_probe::limit_is(std::string_view tier, double bytes) {
  impl_->limits.at({tier}).Set(bytes);
}
void store_probe::has_tier(std::string_view tier) {
  impl_->queries.at({tier});
  impl_->hits.at({tier});
  impl_->errors.at({tier});
  for (const std::string_view reason : {"unsigned", "unknown_signer", "bad_signature"}) {
    impl_->untrusted.at({tier, reason});
  }
}

// --- redis -----------------------------------------------------------------------------------------------------------

struct redis_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  gauges breaker{book,
                 {"fxfarm_redis_breaker",
                  "1 for the state that the circuit breaker before Redis is in.",
                  {"state"},
                  "redis_breaker",
                  0},
                 {{"closed"}, {"open"}, {"half_open"}}};
  counters opened{book, {"fxfarm_redis_breaker_opened_total", "How often Redis was left alone.", {}, "redis_opened"}};
  gauges queue_bytes{
      book, {"fxfarm_redis_queue_bytes", "Artifacts that wait to be written to Redis.", {}, "redis_queue_bytes"}};
  gauges queue_entries{
      book, {"fxfarm_redis_queue_entries", "Writes and removals that wait for Redis.", {}, "redis_queue_entries"}};
  counters written{book, {"fxfarm_redis_writes_total", "Artifacts written to Redis.", {}, "redis_writes"}};
  counters dropped{
      book,
      {"fxfarm_redis_writes_dropped_total", "Writes to Redis that were given up.", {"reason"}, "redis_dropped", 0},
      {{"full"}, {"too_large"}, {"refused"}, {"failed"}, {"shutdown"}}};
  histograms operations{
      book,
      {"fxfarm_redis_operation_seconds", "Time of operations on Redis.", {"operation"}, "redis_seconds", 0},
      {{"get"}, {"put"}, {"remove"}, {"ping"}}};
};

redis_probe::redis_probe(family_book& book) : impl_(std::make_unique<impl>(book)) {}
redis_probe::~redis_probe() = default;

void redis_probe::breaker_now(std::string_view state) {
  for (const std::string_view s : {"closed", "open", "half_open"}) impl_->breaker.at({s}).Set(s == state ? 1 : 0);
}
void redis_probe::breaker_opened() {
  impl_->opened.at({}).Increment();
}
void redis_probe::queue_now(double bytes, double entries) {
  impl_->queue_bytes.at({}).Set(bytes);
  impl_->queue_entries.at({}).Set(entries);
}
void redis_probe::written() {
  impl_->written.at({}).Increment();
}
void redis_probe::dropped(std::string_view reason) {
  impl_->dropped.at({reason}).Increment();
}
void redis_probe::took(std::string_view operation, double seconds) {
  impl_->operations.at({operation}).Observe(seconds);
}

}  // namespace fxfarm::monitoring
