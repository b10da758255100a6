#include "cli/console.hpp"

#include "runtime/config.hpp"

#include <iostream>

namespace fxfarm::cli {

exit_code fail(std::string_view command_name, const error& why) {
  std::cerr << "fxfarm " << command_name << ": " << to_string(why) << "\n";
  if (why.code != errc::bad_config) return exit_failed;
  std::cerr << "`fxfarm " << command_name << " --help` tells what is allowed\n";
  return exit_usage;
}

exit_code print_help(const command& c) {
  std::cout << "fxfarm " << c.name << ": " << c.summary << "\n";
  if (!c.operands.empty()) {
    std::cout << "\nUsage: fxfarm " << c.name << " " << c.operands << (c.table.empty() ? "" : " [options]") << "\n";
  }
  if (c.takes_json) std::cout << "\nOptions:\n  --json              print the answer as JSON\n";
  if (c.table.empty()) return exit_ok;
  std::cout << "\nOptions (but for those of one call, also FXFARM_* variables and keys in [" << c.table
            << "] of the file):\n"
            << options_help(c.name, c.table);
  return exit_ok;
}

bool wants_only_help(const arguments& args) {
  return args.size() == 1 && (args.front() == "--help" || args.front() == "-h");
}

}  // namespace fxfarm::cli
