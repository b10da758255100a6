#include "cli/operator_command.hpp"
#include "cli/render.hpp"

namespace fxfarm::cli {

exit_code status_command(const command& self, const arguments& args) {
  return run_operator(self, args, render_status);
}

}  // namespace fxfarm::cli
