#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "runtime/engine_process.hpp"

namespace fxfarm::cli {

exit_code guard_command(const command& self, const arguments& args) {
  if (wants_only_help(args)) return print_help(self);
  if (!args.empty()) return fail(self.name, {errc::bad_config, "unexpected argument \"" + args.front() + "\""});
  guard_group();
}

}  // namespace fxfarm::cli
