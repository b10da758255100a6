#include "runtime/config_sources.hpp"

#include <algorithm>
#include <optional>

#include <CLI/CLI.hpp>
#include <toml++/toml.h>

namespace fxfarm::sources {
namespace {

constexpr std::string_view variable_prefix = "FXFARM_";

error unknown_flag(const std::string& argument, const option_set& options) {
  auto flag = argument.substr(0, argument.find('='));
  if (!flag.starts_with('-')) return {errc::bad_config, "unexpected argument \"" + argument + "\""};
  std::vector<std::string> flags;
  for (const auto& o : options.all()) flags.push_back(o.flag());
  return {errc::bad_config, "unknown flag " + flag + did_you_mean(flag, flags)};
}

std::string place(const std::string& file, const toml::source_region& region) {
  return file + ":" + std::to_string(region.begin.line) + ":" + std::to_string(region.begin.column);
}

std::optional<std::string> scalar_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* truth = node.as_boolean()) return truth->get() ? "true" : "false";
  return std::nullopt;
}

// An array of scalars is joined as a flag's list would be written.
std::optional<std::string> value_text(const toml::node& node, bool is_list) {
  const auto* array = node.as_array();
  if (array == nullptr) return scalar_text(node);
  if (!is_list) return std::nullopt;
  std::string all;
  for (const auto& element : *array) {
    auto one = scalar_text(element);
    if (!one) return std::nullopt;
    all.append(all.empty() ? "" : ",").append(*one);
  }
  return all;
}

std::string table_title(std::string_view table) {
  return table.empty() ? std::string("the top level") : "[" + std::string(table) + "]";
}

// Reads one table; values are wanted only from the tables of this role.
result<void> read_table(const toml::table& table, std::string_view name, const std::string& file,
                        const option_set* wanted, const table_names& allowed, found_values& found) {
  const auto& names = allowed.find(name)->second;
  for (const auto& [key, node] : table) {
    std::string option_name(key.str());
    auto where = place(file, key.source());
    if (name.empty() && node.is_table()) continue;
    if (std::find(names.begin(), names.end(), option_name) == names.end()) {
      return {errc::bad_config, "unknown key \"" + option_name + "\" in " + table_title(name) + " (" + where + ")" +
                                    did_you_mean(option_name, names)};
    }
    const auto* o = wanted == nullptr ? nullptr : wanted->find(option_name);
    if (o == nullptr || o->is_flag_only) continue;
    auto text = value_text(node, o->is_list);
    if (!text) {
      return {errc::bad_config, option_name + ": want " + o->allowed + " (" + place(file, node.source()) + ")"};
    }
    found[option_name] = {*text, config_source::file, place(file, node.source())};
  }
  return {};
}

result<void> check_tables(const toml::table& root, const std::string& file, const table_names& allowed) {
  std::vector<std::string> titles;
  for (const auto& [title, names] : allowed) {
    if (!title.empty()) titles.push_back(title);
  }
  for (const auto& [key, node] : root) {
    if (node.is_table() && !allowed.contains(key.str())) {
      return {errc::bad_config, "unknown table [" + std::string(key.str()) + "] (" + place(file, key.source()) + ")" +
                                    did_you_mean(key.str(), titles)};
    }
  }
  return {};
}

}  // namespace

const std::vector<std::string>& python_options() {
  static const std::vector<std::string> names{
      "endpoints",    "local",          "stages",         "stage_options", "roll_back",    "isa",   "job",
      "log",          "progress",       "trace",          "record",        "record_bytes", "space", "salt",
      "artifact_dir", "artifact_bytes", "client_metrics", "python",        "signers"};
  return names;
}

bool wants_help(const std::vector<std::string>& arguments) {
  return std::any_of(arguments.begin(), arguments.end(),
                     [](const std::string& a) { return a == "--help" || a == "-h"; });
}

result<found_values> from_arguments(const std::vector<std::string>& arguments, const option_set& options,
                                    unsigned operands_max, std::vector<std::string>& operands) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::map<std::string, CLI::Option*> handles;
  for (const auto& o : options.all()) {
    auto* handle = o.is_switch ? app.add_flag(o.flag()) : app.add_option(o.flag())->expected(1);
    handles[o.name] = handle->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  try {
    // CLI11 takes its arguments from the back.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& e) {
    return {errc::bad_config, std::string("arguments: ") + e.what()};
  }
  for (const auto& rest : app.remaining()) {
    if (rest.starts_with('-') || operands.size() >= operands_max) return unknown_flag(rest, options);
    operands.push_back(rest);
  }

  found_values found;
  for (const auto& o : options.all()) {
    const auto& texts = handles[o.name]->results();
    if (texts.empty()) continue;
    if (texts.size() > 1 && !o.is_list) return {errc::bad_config, "flag " + o.flag() + " is given more than once"};
    std::string all;
    for (const auto& t : texts) all.append(all.empty() ? "" : ",").append(t);
    found[o.name] = {all, config_source::flag, "flag " + o.flag()};
  }
  return found;
}

result<found_values> from_environment(const environment& env, const option_set& options,
                                      const std::vector<std::string>& known) {
  std::vector<std::string> variables;
  for (const auto& name : known) variables.push_back(variable_name(name));
  for (const auto& name : python_options()) variables.push_back(variable_name(name));
  for (auto it = env.lower_bound(variable_prefix); it != env.end() && it->first.starts_with(variable_prefix); ++it) {
    if (std::find(variables.begin(), variables.end(), it->first) == variables.end()) {
      return {errc::bad_config, "unknown variable " + it->first + did_you_mean(it->first, variables)};
    }
  }

  found_values found;
  for (const auto& o : options.all()) {
    if (auto it = env.find(o.variable()); it != env.end() && !o.is_flag_only) {
      found[o.name] = {it->second, config_source::variable, "variable " + o.variable()};
    }
  }
  return found;
}

result<found_values> from_toml(const std::string& text, const std::string& file, const option_set& options,
                               std::string_view table, const table_names& allowed) {
  try {
    auto root = toml::parse(text, file);
    if (auto checked = check_tables(root, file, allowed); !checked) return checked.failure();
    found_values found;
    if (auto read = read_table(root, "", file, &options, allowed, found); !read) return read.failure();
    for (const auto& [title, names] : allowed) {
      const auto* section = root[title].as_table();
      if (title.empty() || section == nullptr) continue;
      auto read = read_table(*section, title, file, title == table ? &options : nullptr, allowed, found);
      if (!read) return read.failure();
    }
    return found;
  } catch (const toml::parse_error& e) {
    return {errc::bad_config, place(file, e.source()) + ": " + std::string(e.description())};
  }
}

}  // namespace fxfarm::sources
