#pragma once
// The configuration of every role. A value comes from the flag, else the FXFARM_* variable, else the TOML file, else
// the default; what is unknown or not allowed is refused with its name, what is allowed, and where it stood.
//
// To add an option: a field here and one line in config.cpp. docs/reference/options.md is generated from those lines.

#include "runtime/error.hpp"
#include "runtime/limits.hpp"
#include "runtime/options.hpp"
#include "runtime/paths.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

struct common_config {
  std::string config;  // the file that was read; empty: none
  std::string log_level = "info";
  std::string log_format = "text";
};

// The tier of the store that coordinators share.
struct redis_config {
  std::string url;            // empty: none; may hold a password
  std::string password_file;  // empty: the URL's password, if it has one
  std::string ca_file;        // empty: the system's authorities
  std::string cert_file;      // empty: none
  std::string key_file;
  std::string prefix = "fxfarm";
  bool insecure = false;
  std::chrono::milliseconds ttl = limits::redis_ttl;
  std::uint64_t value_bytes = limits::redis_value_bytes;
  std::uint64_t queue_bytes = limits::redis_queue_bytes;
  std::chrono::milliseconds timeout = limits::redis_timeout;
};

// How whoever connects proves who it is, and knows the coordinator.
struct link_config {
  std::string key;                             // a file; empty: none
  std::vector<std::string> server_public_key;  // keys, or files with one; none without `key`
  bool insecure = false;
};

// What a coordinator keeps and promises; the local farm has one too.
struct farm_config {
  std::string cache_dir;
  std::uint64_t cache_bytes = limits::store_disk_bytes;     // 0: nothing on disk
  std::uint64_t memory_bytes = limits::store_memory_bytes;  // 0: nothing in memory
  std::string salt;
  std::chrono::milliseconds job_deadline = limits::job_deadline;
  unsigned job_attempts = limits::job_attempts_max;
  unsigned kernels_per_job = limits::kernels_per_job;
  unsigned jobs_per_key = limits::jobs_per_key;
  std::uint64_t graph_bytes_per_key = limits::graph_bytes_per_key;
  unsigned lookups_per_key = limits::lookups_per_key;
  unsigned messages_per_key = limits::messages_per_key;
  unsigned connections_per_key = limits::connections_per_key;
  unsigned history_graphs = limits::history_graphs;
  std::uint64_t history_bytes = limits::history_bytes;
  std::string admin_token_file;         // empty: the status page only shows
  std::string page_token_file;          // empty: to whom, see cli/page_access.hpp
  std::string metrics_token_file;       // empty: /metrics asks for none
  std::vector<std::string> page_hosts;  // names that the status page may be asked by
  redis_config redis;
};

// The engines of a worker; the local farm has some too.
struct engine_config {
  std::string python = "python3";
  unsigned slots = 1;
  unsigned nice = 5;
  std::uint64_t engine_memory_bytes = limits::engine_memory_bytes;  // 0: no limit
  std::uint64_t worker_memory_bytes = 0;                            // of all engines together; 0: not counted
  unsigned engine_cores = 0;                                        // of all engines together; 0: all
  unsigned compile_threads = 0;                                     // after parsing at least 1
  std::string engine_cache_dir;
  std::uint64_t engine_cache_bytes = limits::engine_cache_bytes;
  std::string engine_packages;
  std::string engine_sandbox = "auto";
  std::string engine_sandbox_paths;  // separated by colons, as in PATH
  std::string engine_environment;    // names, separated by commas
  bool engine_shared_by_namespaces = false;
  std::chrono::milliseconds engine_cpu_time = limits::engine_cpu_time;
  unsigned engine_processes = limits::engine_processes;  // 0: no limit, as with what follows
  unsigned engine_open_files = limits::engine_open_files;
  std::uint64_t engine_file_bytes = limits::engine_file_bytes;
  std::uint64_t engine_disk_bytes = limits::engine_disk_bytes;
};

struct coordinator_config : common_config, farm_config {
  std::vector<std::string> listen{"tcp://127.0.0.1:7070"};
  std::string server_key;       // a file; empty: none, and no authorized_keys
  std::string authorized_keys;  // likewise
  bool insecure = false;
  std::string metrics = "127.0.0.1:9090";  // empty: off
};

struct worker_config : common_config, engine_config, link_config {
  std::vector<std::string> coordinators{"tcp://127.0.0.1:7070"};
  std::string name;
  std::string signing_key;                 // a file; empty: artifacts go unsigned, which no coordinator with keys takes
  std::string signers;                     // a file; empty: with a signing key, each job compiles its own kernels
  std::string metrics = "127.0.0.1:9091";  // empty: off
  std::string metrics_token_file;          // empty: it asks for none
};

struct local_config : common_config, farm_config, engine_config {
  std::string socket;  // a file; see endpoint() and lock()
  std::chrono::milliseconds idle_timeout = limits::local_idle;
  std::string metrics = "127.0.0.1:0";  // empty: off
  std::string signers;                  // a file; empty: whatever Redis has is taken
  bool detach = false;

  std::string endpoint() const { return "ipc://" + socket; }
  std::string lock() const { return paths::lock_beside(socket); }
};

// Commands that ask a coordinator.
struct client_config : common_config, link_config {
  std::string endpoint;  // empty: the local farm of this user, whichever it is
  bool json = false;
};

// `fxfarm graphs`: which graphs, and in which order.
struct graphs_config : client_config {
  std::string state;  // empty, like all of these: any
  std::string name;
  std::string key;
  std::string stage;
  std::string sort = "recent";
  unsigned limit = limits::graphs_listed;
};

// `fxfarm cache`.
struct cache_config : client_config {
  std::string directory;                                  // empty: the one that this user's farms have
  std::optional<std::uint64_t> bytes;                     // that gc leaves
  std::optional<std::chrono::milliseconds> unused_for{};  // what gc removes
  bool dry_run = false;
  std::string signers;  // a file; empty: any will do
};

// `fxfarm doctor`: what a local farm and a client of this user would have.
struct doctor_config : local_config {
  std::string endpoint;  // empty: the local farm of this user, if there is one
  link_config link;      // to it
  bool json = false;
};

// `fxfarm top`.
struct top_config : client_config {
  std::chrono::milliseconds interval = limits::top_interval;
  bool once = false;
};

// `fxfarm warm`. What is left empty here, the Python side takes from its own configuration.
struct warm_config : client_config {
  std::string manifest;
  std::string shapes;
  std::string stages;
  bool training = false;
  bool inference = false;
  std::vector<std::string> endpoints;
  std::chrono::milliseconds timeout = limits::warm_timeout;
  std::string signers;
  std::string python = "python3";
};

// What parsing sees of the world.
struct config_inputs {
  std::vector<std::string> arguments;  // behind the command's name
  fxfarm::environment environment;
  // The content of a file; `not_found` when there is none.
  std::function<result<std::string>(const std::string& file)> read_file;
  unsigned cores = 1;  // that this process and its children may use
  std::string host_name;
  unsigned uid = 0;
  unsigned operands_max = 0;       // arguments that are neither flags nor values of flags
  std::uint64_t memory_bytes = 0;  // that this process and its children may use; 0: unknown

  static config_inputs of_process(std::vector<std::string> arguments);
};

enum class config_source { flag, variable, file, standard };
std::string_view to_string(config_source source);

struct config_value {
  std::string text;
  config_source source = config_source::standard;
  std::string where;  // "flag --slots", "variable FXFARM_SLOTS", "/etc/fxfarm.toml:3:9", "default"
};

template <class Config>
struct parsed {
  Config config;
  std::map<std::string, config_value> values;  // by option name
  std::vector<std::string> operands;
  bool help_wanted = false;  // --help was given; nothing else has been checked
};

// Errors of all: bad_config; an endpoint that leaves the host without keys or `insecure` is one.
result<parsed<coordinator_config>> parse_coordinator(const config_inputs& in);
result<parsed<worker_config>> parse_worker(const config_inputs& in);
result<parsed<local_config>> parse_local(const config_inputs& in);
result<parsed<client_config>> parse_client(const config_inputs& in);
result<parsed<graphs_config>> parse_graphs(const config_inputs& in);
result<parsed<top_config>> parse_top(const config_inputs& in);
result<parsed<cache_config>> parse_cache(const config_inputs& in);
result<parsed<doctor_config>> parse_doctor(const config_inputs& in);
result<parsed<warm_config>> parse_warm(const config_inputs& in);

// One role's options as people read them: for --help, for shell completion, for the reference. They are not bound to a
// struct: `assign` and `current` are empty.
struct option_listing {
  std::string table;    // "coordinator"; empty for the options that all roles have
  std::string command;  // that alone has them; empty: every command with that table
  std::vector<option> options;
};
std::vector<option_listing> list_options();
// Whether a command that has that table has the options of `listing`.
bool applies(const option_listing& listing, std::string_view command, std::string_view table);
// --help's lines for a command with that table, its own options first and the common ones last.
std::string options_help(std::string_view command, std::string_view table);
// docs/reference/options.md.
std::string options_reference();

}  // namespace fxfarm
