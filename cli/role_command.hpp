#pragma once
// The common shape of the commands that run a role: read the configuration, then run until told to stop.

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "runtime/config.hpp"

namespace fxfarm::cli {

template <class Config>
exit_code run_role(const command& self, const arguments& args, result<parsed<Config>> (*parse)(const config_inputs&),
                   result<void> (*run)(const Config&)) {
  auto parsed = parse(config_inputs::of_process(args));
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  if (auto done = run(parsed->config); !done) return fail(self.name, done.failure());
  return exit_ok;
}

}  // namespace fxfarm::cli
