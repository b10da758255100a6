#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "fxfarm_version.hpp"
#include "net/messages.hpp"

#include <iostream>

#include <nlohmann/json.hpp>

namespace fxfarm::cli {

exit_code version_command(const command& self, const arguments& args) {
  if (wants_only_help(args)) return print_help(self);
  if (args == arguments{"--json"}) {
    nlohmann::json document{{"version", version_text}, {"build", build_text}, {"wire_version", net::wire_version}};
    std::cout << document.dump() << "\n";
    return exit_ok;
  }
  if (!args.empty()) return fail(self.name, {errc::bad_config, "unexpected argument \"" + args.front() + "\""});
  std::cout << "fxfarm " << build_text << " (wire " << net::wire_version << ")\n";
  return exit_ok;
}

}  // namespace fxfarm::cli
