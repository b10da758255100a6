#pragma once
// Every command of the program. To add one: a file with its function, a line here and a line in commands.cpp.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm::cli {

// What the shell sees.
enum exit_code : int { exit_ok = 0, exit_failed = 1, exit_usage = 2 };

using arguments = std::vector<std::string>;  // behind the command's name

struct command {
  std::string_view name;
  std::string_view summary;
  std::string_view table;  // its options, see fxfarm::list_options; empty: none
  exit_code (*run)(const command& self, const arguments& args);
  std::string_view operands = {};  // what may stand beside options: "KEY|NAME"
  bool hidden = false;
  bool takes_json = false;  // --json, where no table has it
};

std::span<const command> commands();
// Null when there is no such command.
const command* find_command(std::string_view name);

exit_code local_command(const command& self, const arguments& args);
exit_code coordinator_command(const command& self, const arguments& args);
exit_code worker_command(const command& self, const arguments& args);
exit_code status_command(const command& self, const arguments& args);
exit_code stats_command(const command& self, const arguments& args);
exit_code reset_stats_command(const command& self, const arguments& args);
exit_code graphs_command(const command& self, const arguments& args);
exit_code explain_command(const command& self, const arguments& args);
exit_code top_command(const command& self, const arguments& args);
exit_code drain_command(const command& self, const arguments& args);  // and undrain
exit_code cache_command(const command& self, const arguments& args);
exit_code warm_command(const command& self, const arguments& args);
exit_code config_command(const command& self, const arguments& args);
exit_code keygen_command(const command& self, const arguments& args);
exit_code doctor_command(const command& self, const arguments& args);
exit_code man_command(const command& self, const arguments& args);
exit_code completion_command(const command& self, const arguments& args);
exit_code version_command(const command& self, const arguments& args);
exit_code guard_command(const command& self, const arguments& args);
exit_code options_reference_command(const command& self, const arguments& args);

}  // namespace fxfarm::cli
