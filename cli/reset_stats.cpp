#include "cli/operator_command.hpp"
#include "cli/render.hpp"

namespace fxfarm::cli {

exit_code reset_stats_command(const command& self, const arguments& args) {
  return run_operator(self, args, render_reset);
}

}  // namespace fxfarm::cli
