#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "runtime/config.hpp"

#include <iostream>

namespace fxfarm::cli {
namespace {

std::string flags_of(const command& c) {
  std::string words = "--help";
  for (const auto& l : list_options()) {
    if (!applies(l, c.name, c.table)) continue;
    for (const auto& o : l.options) words += " " + o.flag();
  }
  return words;
}

void print_bash() {
  std::string names;
  for (const auto& c : commands()) {
    if (!c.hidden) names += (names.empty() ? "" : " ") + std::string(c.name);
  }
  std::cout << "# source <(fxfarm completion bash)\n"
               "_fxfarm() {\n"
               "  local words=\"\" current=\"${COMP_WORDS[COMP_CWORD]}\"\n"
               "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
               "    words=\""
            << names
            << "\"\n"
               "  else\n"
               "    case \"${COMP_WORDS[1]}\" in\n";
  for (const auto& c : commands()) {
    if (!c.hidden) std::cout << "      " << c.name << ") words=\"" << flags_of(c) << "\" ;;\n";
  }
  std::cout << "    esac\n"
               "  fi\n"
               "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
               "}\n"
               "complete -o default -F _fxfarm fxfarm\n";
}

}  // namespace

exit_code completion_command(const command& self, const arguments& args) {
  if (wants_only_help(args)) return print_help(self);
  if (args != arguments{"bash"}) return fail(self.name, {errc::bad_config, "want the name of a shell: bash"});
  print_bash();
  return exit_ok;
}

}  // namespace fxfarm::cli
