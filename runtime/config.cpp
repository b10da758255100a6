#include "runtime/config.hpp"

#include "runtime/config_checks.hpp"
#include "runtime/config_commands.hpp"
#include "runtime/config_roles.hpp"
#include "runtime/config_sources.hpp"
#include "runtime/host_resources.hpp"

#include <algorithm>
#include <array>
#include <concepts>
#include <fstream>
#include <iterator>

#include <unistd.h>

namespace fxfarm {
namespace {

using values = config_checks::values;

// --- what one command has beside what it shares ----------------------------------------------------------------------

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
  return {
      std::move(arguments), process_environment(), read_config_file, host_cores(), fxfarm::host_name(), ::geteuid(), 0,
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
