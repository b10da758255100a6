#include "cli/role_command.hpp"
#include "cli/roles.hpp"

namespace fxfarm::cli {

exit_code worker_command(const command& self, const arguments& args) {
  return run_role(self, args, parse_worker, run_worker);
}

}  // namespace fxfarm::cli
