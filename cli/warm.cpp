// The model is Python's, so all of it is done there: this checks the command line as for every command, and becomes
// `python -m fxfarm.warm`.

#include "cli/console.hpp"
#include "runtime/config.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

namespace fxfarm::cli {
namespace {

std::string seconds_text(std::chrono::milliseconds duration) {
  return std::to_string(duration.count() / 1000) + "." + std::to_string(1000 + duration.count() % 1000).substr(1);
}

std::vector<std::string> python_words(const parsed<warm_config>& given) {
  const auto& c = given.config;
  std::vector<std::string> words{c.python, "-m", "fxfarm.warm", "--timeout=" + seconds_text(c.timeout)};
  const auto pass = [&](const std::string& flag, const std::string& text) {
    if (!text.empty()) words.push_back(flag + "=" + text);
  };
  const auto pass_switch = [&](const char* flag, bool on) {
    if (on) words.emplace_back(flag);
  };
  pass("--manifest", c.manifest);
  pass("--shapes", c.shapes);
  pass("--stages", c.stages);
  const auto is_flag = [&](const char* name) { return given.values.at(name).source == config_source::flag; };
  // A flag wins over what the environment or the file says of either.
  if (is_flag("endpoints")) {
    pass("--endpoints", given.values.at("endpoints").text);
  } else {
    pass(is_flag("endpoint") ? "--endpoints" : "--endpoint", c.endpoint);
  }
  // Only what was asked for: the option of the Python package has another default.
  if (is_flag("log_level")) pass("--log-level", c.log_level);
  pass_switch("--training", c.training);
  pass_switch("--inference", c.inference);
  pass_switch("--json", c.json);
  if (!given.operands.empty()) words.emplace_back("--");
  words.insert(words.end(), given.operands.begin(), given.operands.end());
  return words;
}

}  // namespace

exit_code warm_command(const command& self, const arguments& args) {
  auto in = config_inputs::of_process(args);
  in.operands_max = 1;
  auto parsed = parse_warm(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  if (parsed->operands.empty() == parsed->config.manifest.empty()) {
    return fail(self.name, {errc::bad_config, "want FILE.py:FUNCTION, MODULE:FUNCTION or --manifest DIRECTORY"});
  }
  const auto& file = parsed->values.at("config");
  if (file.source == config_source::flag) ::setenv("FXFARM_CONFIG", file.text.c_str(), 1);
  for (const auto* name : {"secret_key", "server_public_key", "signers", "insecure"}) {
    const auto& given = parsed->values.at(name);
    if (given.source == config_source::flag) ::setenv(variable_name(name).c_str(), given.text.c_str(), 1);
  }
  auto words = python_words(*parsed);
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  return fail(self.name, {errc::not_found, "cannot run " + words[0] + ": " + std::strerror(errno) + "; give --python"});
}

}  // namespace fxfarm::cli
