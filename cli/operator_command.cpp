#include "cli/operator_command.hpp"

#include "cli/console.hpp"
#include "cli/operator_client.hpp"
#include "runtime/config.hpp"

#include <iostream>

namespace fxfarm::cli {

exit_code run_operator(const command& self, const arguments& args, result<std::string> (*render)(const std::string&)) {
  auto parsed = parse_client(config_inputs::of_process(args));
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);

  auto document = ask_coordinator(parsed->config.endpoint, std::string(self.name));
  if (!document) return fail(self.name, document.failure());
  // Even what is printed as it is must be a document, not half of one.
  auto text = render(*document);
  if (!text) return fail(self.name, text.failure().with_context(parsed->config.endpoint));
  std::cout << (parsed->config.json ? *document + "\n" : *text) << std::flush;
  return std::cout ? exit_ok : fail(self.name, {errc::io, "standard output cannot be written"});
}

}  // namespace fxfarm::cli
