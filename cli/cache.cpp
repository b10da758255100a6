#include "cli/console.hpp"
#include "cli/operator_command.hpp"
#include "cli/render.hpp"

namespace fxfarm::cli {

exit_code cache_command(const command& self, const arguments& args) {
  if (!args.empty() && (args.front() == "--help" || args.front() == "-h")) return print_help(self);
  if (args.size() < 2 || args[0] != "rm" || args[1].starts_with('-')) {
    return fail(self.name,
                {errc::bad_config, "want: cache rm KEY, where KEY is how the key of a graph or stage begins"});
  }
  return run_operator(self, {args.begin() + 2, args.end()}, {"forget", {{"key", args[1]}}}, render_forgotten);
}

}  // namespace fxfarm::cli
