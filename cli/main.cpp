// The program `fxfarm`: finds the command and runs it.

#include "cli/commands.hpp"
#include "runtime/options.hpp"

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

namespace {

using namespace fxfarm::cli;

void print_usage(std::ostream& out) {
  out << "fxfarm: a compile farm for PyTorch\n\nUsage: fxfarm COMMAND [options]\n\n";
  std::size_t width = 0;
  for (const auto& c : commands()) width = std::max(width, c.name.size());
  for (const auto& c : commands()) {
    if (!c.hidden) out << "  " << c.name << std::string(width - c.name.size() + 2, ' ') << c.summary << "\n";
  }
  out << "\n`fxfarm COMMAND --help` tells the options of a command.\n";
}

exit_code unknown(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& c : commands()) {
    if (!c.hidden) names.emplace_back(c.name);
  }
  std::cerr << "fxfarm: unknown command \"" << name << "\"" << fxfarm::did_you_mean(name, names)
            << "\n`fxfarm --help` lists all\n";
  return exit_usage;
}

}  // namespace

int main(int argc, char** argv) {
  const arguments all(argv + std::min(argc, 1), argv + argc);
  if (all.empty()) {
    print_usage(std::cerr);
    return exit_usage;
  }
  if (all.front() == "--help" || all.front() == "-h" || all.front() == "help") {
    print_usage(std::cout);
    return exit_ok;
  }
  const auto* command = find_command(all.front() == "--version" ? "version" : all.front());
  if (command == nullptr) return unknown(all.front());
  return command->run(*command, arguments(all.begin() + 1, all.end()));
}
