#include "runtime/config_roles.hpp"

namespace fxfarm {
namespace {

void declare(option_set& o, redis_config& c) {
  o.add("redis", c.url, kinds::redis_url(), "Redis that coordinators share artifacts through");
  o.add("redis_password_file", c.password_file, kinds::path(), "file with the password of Redis");
  o.add("redis_ca_file", c.ca_file, kinds::path(), "authorities that Redis' certificate is checked with, PEM",
        "the system's");
  o.add("redis_cert_file", c.cert_file, kinds::path(), "certificate that is shown to Redis, PEM");
  o.add("redis_key_file", c.key_file, kinds::path(), "key of that certificate, PEM");
  o.add("redis_insecure", c.insecure, kinds::boolean(), "allow a Redis that is off this host, unencrypted");
  o.add("redis_prefix", c.prefix, kinds::key_prefix(), "start of every key in Redis");
  o.add("redis_ttl", c.ttl, kinds::duration(), "how long Redis keeps an artifact that nobody asks for");
  o.add("redis_value_bytes", c.value_bytes, kinds::byte_count(), "largest artifact that goes to Redis");
  o.add("redis_queue_bytes", c.queue_bytes, kinds::byte_count(), "artifacts that wait to be written to Redis");
  o.add("redis_timeout", c.timeout, kinds::duration(), "longest wait for one answer of Redis");
}

void declare_metrics_token(option_set& o, std::string& file) {
  o.add("metrics_token_file", file, kinds::path(),
        "file with the token that /metrics wants; only its owner may read it", "none: whoever reaches it reads it");
}

void declare(option_set& o, farm_config& c, const std::string& cache_default) {
  o.add("cache_dir", c.cache_dir, kinds::path(), "directory of the artifacts on disk", cache_default);
  o.add("cache_bytes", c.cache_bytes, kinds::byte_count(), "artifacts kept on disk; 0: none");
  o.add("memory_bytes", c.memory_bytes, kinds::byte_count(), "artifacts kept in memory; 0: none");
  o.add("salt", c.salt, kinds::text(), "part of every key; a new one disowns all artifacts so far");
  o.add("job_deadline", c.job_deadline, kinds::duration(), "longest time that one compile may take");
  o.add("job_attempts", c.job_attempts, kinds::count(1, 100), "attempts before a graph's stage is quarantined");
  o.add("kernels_per_job", c.kernels_per_job, kinds::count(0, limits::kernels_per_job),
        "kernels of one job that idle slots compile at the same time; 0: each job compiles its own");
  o.add("jobs_per_key", c.jobs_per_key, kinds::count(1, 10'000'000),
        "jobs in flight of the clients of one key, or of one client where keys are off");
  o.add("graph_bytes_per_key", c.graph_bytes_per_key, kinds::byte_count(), "graphs that are kept for those jobs");
  o.add("lookups_per_key", c.lookups_per_key, kinds::count(1, 10'000'000), "lookups of those clients in a second");
  o.add("messages_per_key", c.messages_per_key, kinds::count(1, 100'000'000),
        "messages in a second of the peers of one key, or of one peer where keys are off");
  o.add("connections_per_key", c.connections_per_key, kinds::count(1, 1'000'000),
        "peers of one key that are connected at a time");
  o.add("history_graphs", c.history_graphs, kinds::count(1, 1'000'000),
        "graphs whose life is kept in memory, for graphs and explain");
  o.add("history_bytes", c.history_bytes, kinds::byte_count(), "memory that this may take");
  o.add("admin_token_file", c.admin_token_file, kinds::path(),
        "file with the token that the status page's actions want; only its owner may read it");
  o.add("page_token_file", c.page_token_file, kinds::path(),
        "file with the token that reading the status page wants; only its owner may read it",
        "none; beyond loopback the page is closed without one");
  declare_metrics_token(o, c.metrics_token_file);
  o.add("page_hosts", c.page_hosts, kinds::host_names(),
        "names that the status page may be asked by, besides localhost and addresses",
        "none; beyond loopback every name");
  declare(o, c.redis);
}

struct host_shares {
  std::string slots, cores, memory;
};
void declare(option_set& o, engine_config& c, const host_shares& standard) {
  o.add("python", c.python, kinds::path(), "interpreter that runs the engines");
  o.add("slots", c.slots, kinds::count(1, 1024), "compiles at the same time", standard.slots);
  o.add("nice", c.nice, kinds::count(0, 19), "niceness of the engines; 19 yields most");
  o.add("engine_memory_bytes", c.engine_memory_bytes, kinds::byte_count(),
        "resident memory of one engine and its compilers; 0: no limit");
  o.add("worker_memory_bytes", c.worker_memory_bytes, kinds::byte_count(),
        "resident memory that jobs may have together, with their engines and compilers; 0: it is not counted",
        standard.memory);
  o.add("engine_cores", c.engine_cores, kinds::count(0, 4096),
        "cores that the engines and their compilers may use together; 0: all", standard.cores);
  o.add("compile_threads", c.compile_threads, kinds::count(1, 1024),
        "compilers that one engine may run at the same time", "the engines' cores / slots");
  o.add("engine_cache_dir", c.engine_cache_dir, kinds::path(),
        "directory of the engines' kernels and precompiled headers; engines take turns in it",
        "$XDG_CACHE_HOME/fxfarm/engines");
  o.add("engine_cache_bytes", c.engine_cache_bytes, kinds::byte_count(),
        "kernels that one engine keeps there, and headers that all of them keep");
  o.add("engine_packages", c.engine_packages, kinds::text(),
        "Python packages, separated by commas, whose operators engines may import besides the usual ones");
  o.add("engine_sandbox", c.engine_sandbox, kinds::one_of({"auto", "bubblewrap", "none"}),
        "what engines run in; auto: bubblewrap where it works; bubblewrap: do not start without it");
  o.add("engine_sandbox_paths", c.engine_sandbox_paths, kinds::text(),
        "files and directories, separated by colons, that engines in a sandbox may read besides system and Python");
  o.add("engine_environment", c.engine_environment, kinds::text(),
        "variables, separated by commas, that engines in a sandbox have besides the usual ones");
  o.add("engine_shared_by_namespaces", c.engine_shared_by_namespaces, kinds::boolean(),
        "let an engine and its cache serve namespaces that are isolated from each other");
  o.add("engine_cpu_time", c.engine_cpu_time, kinds::duration(), "CPU time of one job, all processes together");
  o.add("engine_processes", c.engine_processes, kinds::count(0, 1'000'000), "processes of one job; 0: no limit");
  o.add("engine_open_files", c.engine_open_files, kinds::count(0, 1'000'000),
        "files that a process of an engine may have open; 0: no limit");
  o.add("engine_file_bytes", c.engine_file_bytes, kinds::byte_count(),
        "largest file that an engine may write; 0: no limit");
  o.add("engine_disk_bytes", c.engine_disk_bytes, kinds::byte_count(),
        "kernels and temporary files that an engine may have on disk; 0: no limit");
}

}  // namespace

void declare(option_set& o, common_config& c) {
  o.add("config", c.config, kinds::path(), "TOML file with options", "$XDG_CONFIG_HOME/fxfarm/config.toml if there");
  o.add("log_level", c.log_level, kinds::one_of({"error", "warning", "info", "debug"}), "least level that is logged");
  o.add("log_format", c.log_format, kinds::one_of({"text", "json"}), "form of a log line");
}

void declare(option_set& o, link_config& c) {
  o.add("secret_key", c.key, kinds::path(), "file with the secret key that coordinators know this by");
  o.add("server_public_key", c.server_public_key, kinds::public_keys(),
        "public keys that a coordinator may have, or files with one");
  o.add("insecure", c.insecure, kinds::boolean(), "allow endpoints that leave the host, unencrypted");
}

void declare(option_set& o, coordinator_config& c) {
  o.add("listen", c.listen, kinds::endpoints(), "endpoints to accept clients and workers on");
  o.add("server_key", c.server_key, kinds::path(), "file with the secret key that clients and workers know it by");
  o.add("authorized_keys", c.authorized_keys, kinds::path(),
        "file with the public keys that may come in, and as what; read again when it changes");
  o.add("insecure", c.insecure, kinds::boolean(),
        "allow endpoints that leave the host, unencrypted, and a status page there that asks for no token");
  o.add("metrics", c.metrics, kinds::address_or_off(), "address of the status page and the metrics");
  declare(o, static_cast<farm_config&>(c), "$XDG_CACHE_HOME/fxfarm/coordinator");
}

void declare(option_set& o, worker_config& c) {
  o.add("coordinators", c.coordinators, kinds::farm(), "coordinators to work for");
  o.add("name", c.name, kinds::text(), "name of this worker, for people", "host name");
  declare(o, static_cast<link_config&>(c));
  o.add("signing_key", c.signing_key, kinds::path(), "file with the secret key that signs what is made here");
  o.add("signers", c.signers, kinds::path(),
        "file with the signers whose kernels jobs here may use; read again when it changes",
        "none: with a signing key each job here compiles its own kernels");
  o.add("metrics", c.metrics, kinds::address_or_off(), "address of the metrics page");
  declare_metrics_token(o, c.metrics_token_file);
  declare(o, static_cast<engine_config&>(c), {"cores / 2, at least 1", "0", "7/8 of the host's or control group's"});
}

void declare(option_set& o, local_config& c) {
  o.add("socket", c.socket, kinds::socket_file(), "socket to serve on; the lock file lies beside it",
        "$XDG_RUNTIME_DIR/fxfarm/local-default.sock");
  o.add("idle_timeout", c.idle_timeout, kinds::duration(), "leave after so long without clients and jobs");
  o.add("metrics", c.metrics, kinds::address_or_off(), "address of the status page and the metrics");
  o.add("signers", c.signers, kinds::path(),
        "file with the signers whose artifacts are taken from Redis; read again when it changes",
        "none, and all are taken");
  o.add("detach", c.detach, kinds::boolean(), "run in the background, with the log in a file beside the socket");
  declare(o, static_cast<farm_config&>(c), "$XDG_CACHE_HOME/fxfarm/local");
  declare(o, static_cast<engine_config&>(c), {"1", "cores / 2, at least 2", "half of the host's or control group's"});
}

void declare(option_set& o, client_config& c) {
  o.add("endpoint", c.endpoint, kinds::endpoint(), "coordinator to ask", "the local farm of this user");
  declare(o, static_cast<link_config&>(c));
  o.add("json", c.json, kinds::boolean(), "print the answer as JSON");
}

}  // namespace fxfarm
