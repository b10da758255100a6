#include "cli/console.hpp"
#include "cli/operator_command.hpp"
#include "cli/render.hpp"

namespace fxfarm::cli {

exit_code graphs_command(const command& self, const arguments& args) {
  const auto in = config_inputs::of_process(args);
  auto parsed = parse_graphs(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  const auto& c = parsed->config;
  const question q{"graphs",
                   {{"state", c.state},
                    {"name", c.name},
                    {"key", c.key},
                    {"stage", c.stage},
                    {"sort", c.sort},
                    {"limit", std::to_string(c.limit)}}};
  return run_question(self, c, in, q, render_graphs);
}

}  // namespace fxfarm::cli
