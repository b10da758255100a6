#include "runtime/config.hpp"

#include "runtime/config_checks.hpp"
#include "runtime/config_commands.hpp"
#include "runtime/config_sources.hpp"
#include "runtime/host_memory.hpp"

#include <algorithm>
#include <array>
#include <concepts>
#include <fstream>
#include <iterator>
#include <thread>

#include <unistd.h>

namespace fxfarm {
namespace {

using values = config_checks::values;

// --- every option, once ----------------------------------------------------------------------------------------------

void declare(option_set& o, common_config& c) {
  o.add("config", c.config, kinds::path(), "TOML file with options", "$XDG_CONFIG_HOME/fxfarm/config.toml if there");
  o.add("log_level", c.log_level, kinds::one_of({"error", "warning", "info", "debug"}), "least level that is logged");
  o.add("log_format", c.log_format, kinds::one_of({"text", "json"}), "form of a log line");
}

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

void declare(option_set& o, farm_config& c, const std::string& cache_default) {
  o.add("cache_dir", c.cache_dir, kinds::path(), "directory of the artifacts on disk", cache_default);
  o.add("cache_bytes", c.cache_bytes, kinds::byte_count(), "artifacts kept on disk; 0: none");
  o.add("memory_bytes", c.memory_bytes, kinds::byte_count(), "artifacts kept in memory; 0: none");
  o.add("salt", c.salt, kinds::text(), "part of every key; a new one disowns all artifacts so far");
  o.add("job_deadline", c.job_deadline, kinds::duration(), "longest time that one compile may take");
  o.add("job_attempts", c.job_attempts, kinds::count(1, 100), "attempts before a graph's stage is quarantined");
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
  o.add("insecure", c.insecure, kinds::boolean(), "allow endpoints that leave the host, unencrypted");
  o.add("metrics", c.metrics, kinds::address_or_off(), "address of the status page and the metrics");
  declare(o, static_cast<farm_config&>(c), "$XDG_CACHE_HOME/fxfarm/coordinator");
}

void declare(option_set& o, worker_config& c) {
  o.add("coordinators", c.coordinators, kinds::farm(), "coordinators to work for");
  o.add("name", c.name, kinds::text(), "name of this worker, for people", "host name");
  declare(o, static_cast<link_config&>(c));
  o.add("signing_key", c.signing_key, kinds::path(), "file with the secret key that signs what is made here");
  o.add("metrics", c.metrics, kinds::address_or_off(), "address of the metrics page");
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

void declare(option_set& o, doctor_config& c) {
  declare_own(o, c);
  declare(o, static_cast<local_config&>(c));
}

template <class Config>
requires std::derived_from<Config, client_config>
void declare(option_set& o, Config& c) {
  declare_own(o, c);
  declare(o, static_cast<client_config&>(c));
}

// --- defaults that depend on the host, and checks across options -----------------------------------------------------

std::string default_socket(const config_inputs& in) {
  auto directory = paths::runtime_directory(in.environment, in.uid);
  auto file = paths::local_socket(directory, paths::default_environment_tag);
  return file ? *file : std::string();
}

void fill_defaults(engine_config& c, const config_inputs& in) {
  c.engine_cache_dir = paths::cache_directory(in.environment, in.uid) + "/engines";
}

void fill_defaults(coordinator_config& c, const config_inputs& in) {
  c.cache_dir = paths::cache_directory(in.environment, in.uid) + "/coordinator";
}

void fill_defaults(worker_config& c, const config_inputs& in) {
  fill_defaults(static_cast<engine_config&>(c), in);
  c.name = in.host_name;
  c.slots = std::max(1u, in.cores / 2);
  c.worker_memory_bytes = in.memory_bytes / 8 * 7 / limits::MiB * limits::MiB;
}

void fill_defaults(local_config& c, const config_inputs& in) {
  fill_defaults(static_cast<engine_config&>(c), in);
  c.socket = default_socket(in);
  c.cache_dir = paths::cache_directory(in.environment, in.uid) + "/local";
  // On a small host the engines' priority alone has to leave the model its cores: on one core compiles take for ever.
  c.engine_cores = std::max(2u, in.cores / 2);
  c.worker_memory_bytes = in.memory_bytes / 2 / limits::MiB * limits::MiB;
}

void fill_defaults(client_config&, const config_inputs&) {}  // the endpoint is looked for when it is needed

void fill_defaults(warm_config& c, const config_inputs& in) {
  const auto it = in.environment.find("FXFARM_PYTHON");
  if (it != in.environment.end() && !it->second.empty()) c.python = it->second;
}

void share_cores(engine_config& c, const config_inputs& in) {
  const auto cores = c.engine_cores == 0 ? in.cores : std::min(c.engine_cores, in.cores);
  if (c.compile_threads == 0) c.compile_threads = std::max(1u, cores / c.slots);
}

result<void> settle(coordinator_config& c, const config_inputs&, const values& v) {
  if (auto checked = config_checks::redis(c.redis, v); !checked) return checked;
  return config_checks::listening(c, v);
}

result<void> settle(worker_config& c, const config_inputs& in, const values& v) {
  share_cores(c, in);
  if (auto checked = config_checks::link(c, c.coordinators, "coordinators", v); !checked) return checked;
  return config_checks::signing(c, v);
}

result<void> settle(local_config& c, const config_inputs& in, const values& v) {
  share_cores(c, in);
  if (auto checked = config_checks::redis(c.redis, v); !checked) return checked;
  if (!c.socket.empty()) return {};
  return {errc::bad_config,
          "socket: the default path is too long for a socket; set XDG_RUNTIME_DIR or TMPDIR to a shorter one, or give "
          "--socket"};
}

result<void> settle(client_config& c, const config_inputs&, const values& v) {
  if (c.endpoint.empty()) return {};
  return config_checks::link(c, {c.endpoint}, "endpoint", v);
}

// --- merging ---------------------------------------------------------------------------------------------------------

void unbind(option_listing& listing) {
  for (auto& o : listing.options) {
    o.assign = nullptr;
    o.current = nullptr;
  }
}

template <class Config>
option_listing listing(const char* table) {
  Config standard;
  option_set options;
  declare(options, standard);
  option_listing out{table, {}, options.all()};
  unbind(out);
  return out;
}

template <class Config>
option_listing own_listing(const char* table, const char* command) {
  Config standard;
  option_set options;
  declare_own(options, standard);
  option_listing out{table, command, options.all()};
  unbind(out);
  return out;
}

sources::table_names tables_of_the_file() {
  sources::table_names allowed;
  for (const auto& l : list_options()) {
    for (const auto& o : l.options) {
      // A file cannot name a file, and how an answer is printed is for each call.
      if (o.name != "config" && o.name != "json" && !o.is_flag_only) allowed[l.table].push_back(o.name);
    }
  }
  auto& client = allowed["client"];
  client.insert(client.end(), sources::python_options().begin(), sources::python_options().end());
  return allowed;
}

std::vector<std::string> names_of_all() {
  std::vector<std::string> names;
  for (const auto& l : list_options()) {
    for (const auto& o : l.options) {
      if (!o.is_flag_only) names.push_back(o.name);
    }
  }
  return names;
}

// Which file to read, and whether it must exist.
struct file_choice {
  std::string file;
  bool required = false;
};

file_choice choose_file(const values& merged, const config_inputs& in) {
  if (auto it = merged.find("config"); it != merged.end()) return {it->second.text, true};
  return {paths::default_config_file(in.environment), false};
}

result<values> gather(const config_inputs& in, const option_set& options, std::string_view table,
                      std::vector<std::string>& operands) {
  auto merged = sources::from_arguments(in.arguments, options, in.operands_max, operands);
  if (!merged) return merged;
  auto variables = sources::from_environment(in.environment, options, names_of_all());
  if (!variables) return variables;
  merged->merge(*variables);  // keeps what is there

  auto choice = choose_file(*merged, in);
  if (choice.file.empty()) return merged;
  auto text = in.read_file(choice.file);
  if (!text) {
    if (!choice.required && text.failure().code == errc::not_found) return merged;
    return error{errc::bad_config, "config: " + text.failure().message};
  }
  auto file = sources::from_toml(*text, choice.file, options, table, tables_of_the_file());
  if (!file) return file;
  merged->merge(*file);
  merged->insert({"config", {choice.file, config_source::standard, "default"}});
  return merged;
}

template <class Config>
result<parsed<Config>> parse(const config_inputs& in, const char* table) {
  parsed<Config> out;
  if (sources::wants_help(in.arguments)) {
    out.help_wanted = true;
    return out;
  }
  fill_defaults(out.config, in);
  option_set options;
  declare(options, static_cast<common_config&>(out.config));
  declare(options, out.config);

  auto given = gather(in, options, table, out.operands);
  if (!given) return given.failure();
  out.values = *std::move(given);
  for (const auto& o : options.all()) {
    auto it = out.values.find(o.name);
    if (it == out.values.end() || o.assign(it->second.text)) continue;
    const auto given = o.is_secret ? "the value" : "\"" + it->second.text + "\"";
    return {errc::bad_config,
            o.name + ": " + given + " is not allowed, want " + o.allowed + " (" + it->second.where + ")"};
  }
  if (auto settled = settle(out.config, in, out.values); !settled) return settled.failure();
  for (const auto& o : options.all()) out.values.insert({o.name, {o.current(), config_source::standard, "default"}});
  return out;
}

result<std::string> read_config_file(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    auto code = ::access(file.c_str(), F_OK) == 0 ? errc::io : errc::not_found;
    return {code, file + (code == errc::io ? " cannot be read" : " does not exist")};
  }
  std::string text(limits::config_bytes_max + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) return {errc::io, file + " cannot be read"};
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > limits::config_bytes_max) {
    return {errc::too_large, file + " has more than " + render_bytes(limits::config_bytes_max)};
  }
  return text;
}

}  // namespace

config_inputs config_inputs::of_process(std::vector<std::string> arguments) {
  return {std::move(arguments),
          process_environment(),
          read_config_file,
          std::max(1u, std::thread::hardware_concurrency()),
          fxfarm::host_name(),
          ::geteuid(),
          0,
          host_memory_bytes()};
}

std::string_view to_string(config_source source) {
  constexpr std::array<std::string_view, 4> names{"flag", "variable", "file", "default"};
  return names.at(static_cast<std::size_t>(source));
}

result<parsed<coordinator_config>> parse_coordinator(const config_inputs& in) {
  return parse<coordinator_config>(in, "coordinator");
}

result<parsed<worker_config>> parse_worker(const config_inputs& in) {
  return parse<worker_config>(in, "worker");
}

result<parsed<local_config>> parse_local(const config_inputs& in) {
  return parse<local_config>(in, "local");
}

result<parsed<client_config>> parse_client(const config_inputs& in) {
  return parse<client_config>(in, "client");
}

result<parsed<graphs_config>> parse_graphs(const config_inputs& in) {
  return parse<graphs_config>(in, "client");
}

result<parsed<top_config>> parse_top(const config_inputs& in) {
  return parse<top_config>(in, "client");
}

result<parsed<cache_config>> parse_cache(const config_inputs& in) {
  return parse<cache_config>(in, "client");
}

result<parsed<doctor_config>> parse_doctor(const config_inputs& in) {
  return parse<doctor_config>(in, "local");
}

result<parsed<warm_config>> parse_warm(const config_inputs& in) {
  return parse<warm_config>(in, "client");
}

std::vector<option_listing> list_options() {
  auto local = listing<local_config>("local");
  return {listing<common_config>(""),
          listing<coordinator_config>("coordinator"),
          listing<worker_config>("worker"),
          std::move(local),
          listing<client_config>("client"),
          own_listing<graphs_config>("client", "graphs"),
          own_listing<top_config>("client", "top"),
          own_listing<cache_config>("client", "cache"),
          own_listing<warm_config>("client", "warm"),
          own_listing<doctor_config>("local", "doctor")};
}

}  // namespace fxfarm
