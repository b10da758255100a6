#include "cli/role_command.hpp"
#include "cli/roles.hpp"

namespace fxfarm::cli {

exit_code coordinator_command(const command& self, const arguments& args) {
  return run_role(self, args, parse_coordinator, run_coordinator);
}

}  // namespace fxfarm::cli
