#include "cli/console.hpp"
#include "cli/operator_command.hpp"
#include "cli/render.hpp"

namespace fxfarm::cli {

// Both commands: the name is the question.
exit_code drain_command(const command& self, const arguments& args) {
  auto in = config_inputs::of_process(args);
  in.operands_max = 1;
  auto parsed = parse_client(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  if (parsed->operands.empty()) {
    return fail(self.name,
                {errc::bad_config, "want: " + std::string(self.name) + " WORKER, its name in `fxfarm status`"});
  }
  return run_question(self, parsed->config, in, {std::string(self.name), {{"worker", parsed->operands.front()}}},
                      render_drained);
}

}  // namespace fxfarm::cli
