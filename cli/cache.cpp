// `rm` asks a coordinator, since failures and what is in flight are its own. The others work on a directory: it is what
// outlives farms and is carried elsewhere, it can be looked at while no coordinator runs, and several processes may
// share it.

#include "cli/console.hpp"
#include "cli/operator_command.hpp"
#include "cli/render.hpp"
#include "runtime/signature_check.hpp"
#include "runtime/store_directory.hpp"

#include <filesystem>
#include <iostream>

#include <nlohmann/json.hpp>

namespace fxfarm::cli {
namespace {

using nlohmann::json;
using words = std::vector<std::string>;

constexpr const char* wanted = "want: cache rm KEY, ls [KEY], verify [KEY], gc, export TO [KEY] or import FROM [KEY]";

double age_seconds(const stored_entry& e, std::chrono::system_clock::time_point now) {
  return std::chrono::duration<double>(now - e.used).count();
}

std::string at_word(const words& given, std::size_t index) {
  return index < given.size() ? given[index] : std::string();
}

json entries_json(const std::vector<stored_entry>& entries, const char* name) {
  const auto now = std::chrono::system_clock::now();
  json list = json::array();
  std::uint64_t bytes = 0;
  for (const auto& e : entries) {
    bytes += e.bytes;
    list.push_back({{"key", e.key}, {"bytes", e.bytes}, {"used_seconds_ago", age_seconds(e, now)}});
  }
  return {{name, std::move(list)}, {"bytes", bytes}};
}

json report_json(const directory_report& report) {
  json faults = json::array();
  for (const auto& f : report.faults) faults.push_back({{"key", f.key}, {"why", to_string(f.why)}});
  return {{"artifacts", report.artifacts}, {"bytes", report.bytes}, {"faults", std::move(faults)}};
}

// The directory that was given, else that of the one farm of this user that has one.
result<std::filesystem::path> directory_of(const cache_config& config, const config_inputs& in) {
  if (!config.directory.empty()) return std::filesystem::path(config.directory);
  const auto base = std::filesystem::path(paths::cache_directory(in.environment, in.uid));
  std::vector<std::filesystem::path> found;
  for (const char* role : {"local", "coordinator"}) {
    if (std::filesystem::is_directory(base / role)) found.push_back(base / role);
  }
  if (found.size() == 1) return found.front();
  if (found.empty())
    return {errc::not_found, "no farm of this user has a directory in " + base.string() + "; give --directory"};
  return {errc::bad_config,
          "there are several, choose one with --directory: " + found[0].string() + " " + found[1].string()};
}

exit_code report(const command& self, const cache_config& config, const result<directory_report>& done) {
  if (!done) return fail(self.name, done.failure());
  const auto printed = print_answer(self, config, report_json(*done).dump(), render_directory_report);
  return printed == exit_ok && !done->faults.empty() ? exit_failed : printed;
}

exit_code list(const command& self, const cache_config& config, const store_directory& directory,
               const std::string& key) {
  auto entries = directory.list(key);
  if (!entries) return fail(self.name, entries.failure());
  return print_answer(self, config, entries_json(*entries, "artifacts").dump(), render_artifacts);
}

exit_code collect(const command& self, const cache_config& config, const store_directory& directory) {
  if (!config.bytes && !config.unused_for) {
    return fail(self.name, {errc::bad_config, "gc: want --bytes, --unused-for or both"});
  }
  auto entries = directory.list();
  if (!entries) return fail(self.name, entries.failure());
  auto gone = to_remove(*entries, {config.bytes, config.unused_for}, std::chrono::system_clock::now());
  for (const auto& e : gone) {
    if (config.dry_run) break;
    if (auto removed = directory.remove(e.key); !removed) return fail(self.name, removed.failure());
  }
  auto document = entries_json(gone, "removed");
  document["dry_run"] = config.dry_run;
  return print_answer(self, config, document.dump(), render_collected);
}

exit_code carry(const command& self, const cache_config& config, const store_directory& here, const words& given,
                const signature_check* signatures) {
  if (given.size() < 2) return fail(self.name, {errc::bad_config, "want: cache " + given[0] + " DIRECTORY [KEY]"});
  auto there = given[0] == "export" ? store_directory::make(given[1]) : store_directory::open(given[1]);
  if (!there) return fail(self.name, there.failure());
  const auto key = at_word(given, 2);
  return report(self, config,
                given[0] == "export" ? copy(here, *there, key, signatures) : copy(*there, here, key, signatures));
}

// Null when anybody's artifacts will do.
result<std::shared_ptr<const signature_check>> signatures_of(const cache_config& config) {
  if (config.signers.empty()) return std::shared_ptr<const signature_check>();
  return signature_check::of_file("signers", config.signers, [](const error&) {});  // it is read once
}

}  // namespace

exit_code cache_command(const command& self, const arguments& args) {
  auto in = config_inputs::of_process(args);
  in.operands_max = 3;
  auto parsed = parse_cache(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  const auto& c = parsed->config;
  const auto& given = parsed->operands;
  const auto what = at_word(given, 0);
  const bool carries = what == "export" || what == "import";
  const std::size_t most = carries ? 3 : what == "gc" ? 1 : 2;
  const bool known = carries || what == "rm" || what == "ls" || what == "verify" || what == "gc";
  if (!known || given.size() > most || (what == "rm" && given.size() < 2))
    return fail(self.name, {errc::bad_config, wanted});
  if (what == "rm") return run_question(self, c, in, {"forget", {{"key", given[1]}}}, render_forgotten);

  auto path = directory_of(c, in);
  if (!path) return fail(self.name, path.failure());
  // Only what is imported may make a directory.
  auto directory = what == "import" ? store_directory::make(*path) : store_directory::open(*path);
  if (!directory) return fail(self.name, directory.failure());
  if (what == "ls") return list(self, c, *directory, at_word(given, 1));
  const auto signatures = signatures_of(c);
  if (!signatures) return fail(self.name, signatures.failure());
  if (what == "verify") return report(self, c, verify(*directory, at_word(given, 1), signatures->get()));
  if (what == "gc") return collect(self, c, *directory);
  return carry(self, c, *directory, given, signatures->get());
}

}  // namespace fxfarm::cli
