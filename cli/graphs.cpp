#include "cli/console.hpp"
#include "cli/graphs_question.hpp"
#include "cli/operator_command.hpp"
#include "cli/render.hpp"

namespace fxfarm::cli {

exit_code graphs_command(const command& self, const arguments& args) {
  const auto in = config_inputs::of_process(args);
  auto parsed = parse_graphs(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  return run_question(self, parsed->config, in, question_of(parsed->config), render_graphs);
}

}  // namespace fxfarm::cli
