// `fxfarm config show`: what a role would run with, and where each value comes from.

#include "runtime/config.hpp"

#include "cli/console.hpp"
#include "cli/render_parts.hpp"

#include <algorithm>
#include <iostream>

namespace fxfarm::cli {
namespace {

using nlohmann::json;

constexpr const char* wanted = "want: config show coordinator|worker|local|client, and options of that role";

// What stands in an option that no message repeats.
bool is_secret(const std::string& name) {
  for (const auto& listing : list_options()) {
    for (const auto& o : listing.options) {
      if (o.name == name) return o.is_secret;
    }
  }
  return false;
}

template <class Config>
result<json> values_of(const result<parsed<Config>>& parsed) {
  if (!parsed) return parsed.failure();
  json values = json::array();
  for (const auto& [name, value] : parsed->values) {
    const bool hidden = is_secret(name) && !value.text.empty();
    values.push_back({{"name", name},
                      {"value", hidden ? "(not shown)" : value.text},
                      {"source", to_string(value.source)},
                      {"where", value.where}});
  }
  return values;
}

result<json> values_of(const std::string& role, const config_inputs& in) {
  if (role == "coordinator") return values_of(parse_coordinator(in));
  if (role == "worker") return values_of(parse_worker(in));
  if (role == "local") return values_of(parse_local(in));
  if (role == "client") return values_of(parse_client(in));
  return {errc::bad_config, wanted};
}

std::string table_of(const json& values) {
  std::vector<std::vector<std::string>> rows{{"OPTION", "VALUE", "FROM"}};
  for (const auto& v : values) rows.push_back({cell(v, "name"), cell(v, "value"), cell(v, "where")});
  return render_table(rows);
}

}  // namespace

exit_code config_command(const command& self, const arguments& args) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h") {
    return args.empty() ? fail(self.name, {errc::bad_config, wanted}) : print_help(self);
  }
  if (args[0] != "show" || args.size() < 2) return fail(self.name, {errc::bad_config, wanted});
  const auto& role = args[1];
  arguments rest(args.begin() + 2, args.end());
  // Roles do not have it.
  const bool as_json = std::erase(rest, "--json") > 0;
  auto values = values_of(role, config_inputs::of_process(std::move(rest)));
  if (!values) return fail(self.name, values.failure());
  if (as_json) {
    std::cout << json{{"role", role}, {"options", *values}}.dump(-1, ' ', false, json::error_handler_t::replace)
              << "\n";
  } else {
    std::cout << table_of(*values);
  }
  return exit_ok;
}

}  // namespace fxfarm::cli
