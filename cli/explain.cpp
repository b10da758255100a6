#include "cli/console.hpp"
#include "cli/operator_command.hpp"
#include "cli/render.hpp"

namespace fxfarm::cli {

exit_code explain_command(const command& self, const arguments& args) {
  auto in = config_inputs::of_process(args);
  in.operands_max = 1;
  auto parsed = parse_client(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  if (parsed->operands.empty()) {
    return fail(self.name,
                {errc::bad_config, "want: explain KEY|NAME, a graph's name or how the key of a graph or stage begins"});
  }
  return run_question(self, parsed->config, in, {"explain", {{"graph", parsed->operands.front()}}}, render_explanation);
}

}  // namespace fxfarm::cli
