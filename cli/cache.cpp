#include "cli/console.hpp"
#include "cli/operator_command.hpp"
#include "cli/render.hpp"

namespace fxfarm::cli {

exit_code cache_command(const command& self, const arguments& args) {
  auto in = config_inputs::of_process(args);
  in.operands_max = 2;
  auto parsed = parse_client(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  const auto& given = parsed->operands;
  if (given.size() != 2 || given[0] != "rm") {
    return fail(self.name,
                {errc::bad_config, "want: cache rm KEY, where KEY is how the key of a graph or stage begins"});
  }
  return run_question(self, parsed->config, in, {"forget", {{"key", given[1]}}}, render_forgotten);
}

}  // namespace fxfarm::cli
