#pragma once
// Every metric of the farm. A component gets a probe, whose verbs say what happened; names, labels and buckets are in
// this folder only. Everything here is thread-safe.

#include "monitoring/readiness.hpp"
#include "monitoring/statistics.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace fxfarm::monitoring {

// A label keeps at most so many distinct values; what comes later counts as "other". So does a value that is empty, too
// long or not printable ASCII: stage names come from users, reasons from peers.
inline constexpr std::size_t label_values_max = 32;
inline constexpr std::size_t label_bytes_max = 64;

class family_book;

// Jobs of one stage that wait for a worker.
struct waiting_jobs {
  double count = 0;
  double oldest_seconds = 0;  // how long the oldest has waited
};

class coordinator_probe {
public:
  explicit coordinator_probe(family_book& book);
  ~coordinator_probe();

  void lookup_received();
  void joined();  // a lookup found its job in flight
  // An artifact was sent to a client from `source`: a tier by name, or "job" when it has just been made.
  void stage_served(std::string_view source, double bytes);
  // A client got, from there, what it would have compiled for so long.
  void compile_saved(std::string_view source, double seconds);
  void stage_refused(std::string_view code);    // a client was told that a stage will not come; errc by name
  void message_refused(std::string_view role);  // a peer of that role may not send such a message, or it was malformed
  void quota_passed(std::string_view what);     // of a key: "jobs", "graph_bytes", "lookups"
  void artifact_refused();                      // a client could not use a stored artifact and asked for another
  void claim_refused();                         // a worker brought a job that no coordinator of the farm gave it
  void result_refused();                        // a worker's result for a job it held no lease on
  void result_untrusted(std::string_view reason);  // "unsigned", "unknown_signer", "bad_signature"
  void graph_received(double bytes);
  void job_queued();
  void job_started();
  void job_finished();
  void job_failed(std::string_view code, std::string_view stage);  // errc by name
  void retried(std::string_view code);                             // likewise: why the attempt before ended
  // A worker asked for a kernel of its job: "made", "failed", "none_idle", "refused", or "late" when its job had ended.
  void kernel_ended(std::string_view outcome);
  void adopted();    // a worker brought a job that a coordinator which is gone had given it
  void cancelled();  // nobody waited for the job any longer
  void worker_came();
  void worker_left();
  void queue_waited(std::string_view stage, double seconds);
  void waiting_now(const std::map<std::string, waiting_jobs>& by_stage);  // all there are
  void phase_took(std::string_view stage, std::string_view phase, double seconds);
  void compiled(std::string_view stage, double seconds);           // all phases of one job
  void memory_had(std::string_view stage, double bytes);           // by one job, at most
  void request_to_switch(std::string_view stage, double seconds);  // from the client's request to running it
  // What that time went to: "prepare" in the client, "farm" from the lookup to the artifact, "load" in the client.
  void switch_step(std::string_view stage, std::string_view step, double seconds);
  void load_took(std::string_view stage, double seconds);           // in the client
  void load_failed(std::string_view code, std::string_view stage);  // in the client; errc by name
  void rolled_back(std::string_view stage);                         // in the client, which found it slower
  void switch_agreed();                                             // by the ranks of a job, for one graph
  void switch_aborted();                                            // likewise; it is proposed again
  void artifact_made(double bytes);
  void jobs_now(std::string_view state, double count);     // "queued", "running"
  void workers_now(std::string_view state, double count);  // "starting", "idle", "busy", "draining", "unavailable"
  void clients_now(double count);
  void clients_waiting_now(double count);

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

class store_probe {
public:
  explicit store_probe(family_book& book);
  ~store_probe();

  void queried(std::string_view tier);
  void hit(std::string_view tier);
  void failed(std::string_view tier);
  void untrusted(std::string_view tier, std::string_view reason);  // as coordinator_probe::result_untrusted
  void evicted(std::string_view tier, double bytes);
  void size_now(std::string_view tier, double bytes);
  void limit_is(std::string_view tier, double bytes);
  // Shows that tier from now on, so that rates have a zero to start from; memory and disk are always there.
  void has_tier(std::string_view tier);

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

// The tier that coordinators share.
class redis_probe {
public:
  explicit redis_probe(family_book& book);
  ~redis_probe();

  void breaker_now(std::string_view state);  // "closed", "open", "half_open"
  void breaker_opened();
  void queue_now(double bytes, double entries);
  void written();
  void dropped(std::string_view reason);                  // "full", "too_large", "refused", "failed", "shutdown"
  void took(std::string_view operation, double seconds);  // "get", "put", "remove", "ping"

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

class worker_probe {
public:
  explicit worker_probe(family_book& book);
  ~worker_probe();

  void engines_now(std::string_view state, double count);  // "starting", "idle", "busy", "restarting"
  void jobs_now(double running);
  void memory_now(double offered, double taken);  // bytes; offered is 0 where it is not counted
  void coordinators_now(double count);
  // See readiness::lacks.
  void lacks(std::string_view part, std::string_view what);
  void engine_restarted(std::string_view reason);  // errc by name, or "namespace"
  void engines_are_in(std::string_view sandbox);   // "bubblewrap", "none"
  void engine_warmed(double seconds);
  void message_refused();  // a coordinator may not send such a message
  void job_done();
  void job_failed(std::string_view code);  // errc by name
  void phase_took(std::string_view stage, std::string_view phase, double seconds);
  void artifact_made(double bytes);
  void helped(std::string_view outcome);       // with a kernel of some job: "made", "failed", "refused"
  void kernel_came(std::string_view outcome);  // that a job here has asked for: "made", "unmade", "untrusted"

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

// A process that runs models.
class client_probe {
public:
  explicit client_probe(family_book& book);
  ~client_probe();

  // The calls of a graph run that stage from now on, so long after the program compiled the graph.
  void switched(std::string_view stage, double seconds);
  void load_took(std::string_view stage, double seconds);
  void stage_failed(std::string_view stage, std::string_view code);  // errc by name
  void rolled_back(std::string_view stage);

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

// The status page.
class page_probe {
public:
  explicit page_probe(family_book& book);
  ~page_probe();

  void questioned(std::string_view outcome);                      // "asked", "shared", "turned_away"
  void acted(std::string_view action, std::string_view outcome);  // "drain", ...; "done", "failed", "denied"
  void refused(std::string_view reason);                          // "closed", "no_token", "wrong_token", "name"

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

// Who may come in to a coordinator.
class access_probe {
public:
  explicit access_probe(family_book& book);
  ~access_probe();

  void keys_now(double count);  // authorized keys in force
  void signers_now(double count);
  void keys_read(bool well);  // their file had changed

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

// What a client has counted since its start, and what is now.
struct client_counters {
  std::map<std::string, std::uint64_t> counted;  // by name, as in client::stats
  std::map<std::string, std::uint64_t> graphs;   // stage that calls run -> graphs
  std::uint64_t graphs_waiting = 0;              // of these, for a stage
  std::uint64_t eager_calls = 0;
  std::uint64_t compiled_calls = 0;
};

// What a link to peers has counted since it was opened.
struct link_counters {
  std::uint64_t messages_received = 0;
  std::uint64_t messages_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t chunk_bytes_received = 0;
  std::uint64_t chunk_bytes_sent = 0;
  std::map<std::string, std::uint64_t> rejected;  // reason -> messages
  std::map<std::string, std::uint64_t> refused;   // reason -> connections that became no peer's
  std::uint64_t peers = 0;                        // connected now
  std::uint64_t reconnects = 0;                   // attempts after the first
  std::uint64_t streams_aborted = 0;
};

// All metrics of one process. Probes exist from their first use on, so a worker shows no coordinator's families; they
// live as long as this does.
class metrics {
public:
  metrics(std::string_view version, std::string_view role);
  ~metrics();
  metrics(const metrics&) = delete;
  metrics& operator=(const metrics&) = delete;

  coordinator_probe& coordinator();
  store_probe& store();
  redis_probe& redis();
  worker_probe& worker();
  client_probe& client();
  page_probe& page();
  access_probe& access();
  // Whether this process talks unencrypted with other hosts.
  void insecure_now(bool open);
  // `read` is called whenever somebody looks, on any thread. Null: the link is gone; afterwards the last one is not
  // called any more.
  void watch_link(std::function<link_counters()> read);
  // Likewise for a client.
  void watch_client(std::function<client_counters()> read);

  // The same numbers by flat name ("lookups", "cache_hits_memory", "compile_seconds_sum", ...), counters since the last
  // reset; also "resets" and "last_reset_timestamp_seconds".
  statistics_map snapshot() const;
  void reset();

  // The exposition format of Prometheus.
  std::string text() const;

  // What the process lacks to do its work; shown as fxfarm_ready, too.
  std::shared_ptr<readiness> ready() const;

  // For the exposer: text(), and what says that the process lives (its build only). They keep what they read alive.
  std::function<std::string()> text_reader() const;
  std::function<std::string()> build_reader() const;

private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace fxfarm::monitoring
