#include "cli/commands.hpp"
#include "runtime/config.hpp"

#include <iostream>

namespace fxfarm::cli {
namespace {

// For a cell of a table.
std::string cell_of(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

void print_commands() {
  std::cout << "\n## Commands\n\n"
               "| command | what it does | options |\n"
               "| --- | --- | --- |\n";
  for (const auto& c : commands()) {
    if (c.hidden) continue;
    std::cout << "| `" << c.name << (c.operands.empty() ? "" : " ") << cell_of(c.operands) << "` | "
              << cell_of(c.summary) << " | ";
    if (!c.table.empty()) std::cout << "those of `" << c.table << "`";
    std::cout << (c.takes_json ? "`--json`" : "") << " |\n";
  }
}

}  // namespace

exit_code options_reference_command(const command&, const arguments&) {
  std::cout << options_reference();
  print_commands();
  return exit_ok;
}

}  // namespace fxfarm::cli
