#include "cli/role_command.hpp"
#include "cli/roles.hpp"

namespace fxfarm::cli {

exit_code local_command(const command& self, const arguments& args) {
  return run_role(self, args, parse_local, run_local);
}

}  // namespace fxfarm::cli
