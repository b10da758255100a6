#include "cli/operator_command.hpp"

#include "cli/console.hpp"

#include <iostream>

namespace fxfarm::cli {

result<std::string> endpoint_of(const client_config& config, const config_inputs& in) {
  if (!config.endpoint.empty()) return config.endpoint;
  auto directory = paths::runtime_directory(in.environment, in.uid);
  auto sockets = paths::local_sockets(directory);
  if (sockets.size() == 1) return "ipc://" + sockets.front();
  if (sockets.empty()) {
    return {errc::unreachable, "no local farm has a socket in " + directory + "; start one or give --endpoint"};
  }
  std::string all;
  for (const auto& s : sockets) all += " ipc://" + s;
  return {errc::bad_config, "there are several local farms, choose one with --endpoint:" + all};
}

exit_code run_question(const command& self, const client_config& config, const config_inputs& in, question q,
                       const renderer& render) {
  auto endpoint = endpoint_of(config, in);
  if (!endpoint) return fail(self.name, endpoint.failure());
  auto document = ask_coordinator(*endpoint, std::move(q));
  if (!document) return fail(self.name, document.failure());
  return print_answer(self, config, *document, [&](const std::string& text) -> result<std::string> {
    auto rendered = render(text);
    if (!rendered) return rendered.failure().with_context(*endpoint);
    return rendered;
  });
}

exit_code run_operator(const command& self, const arguments& args, const renderer& render) {
  const auto in = config_inputs::of_process(args);
  auto parsed = parse_client(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  return run_question(self, parsed->config, in, {std::string(self.name)}, render);
}

exit_code print_answer(const command& self, const client_config& config, const std::string& document,
                       const renderer& render) {
  // Even what is printed as it is must be a document, not half of one.
  auto text = render(document);
  if (!text) return fail(self.name, text.failure());
  std::cout << (config.json ? document + "\n" : *text) << std::flush;
  return std::cout ? exit_ok : fail(self.name, {errc::io, "standard output cannot be written"});
}

}  // namespace fxfarm::cli
