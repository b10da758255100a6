#include "cli/operator_command.hpp"

#include "cli/console.hpp"
#include "runtime/config.hpp"

#include <iostream>

namespace fxfarm::cli {
namespace {

// The endpoint that was given, else that of the one local farm of this user.
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

}  // namespace

exit_code run_operator(const command& self, const arguments& args, renderer render) {
  return run_operator(self, args, {std::string(self.name)}, render);
}

exit_code run_operator(const command& self, const arguments& args, question q, renderer render) {
  const auto in = config_inputs::of_process(args);
  auto parsed = parse_client(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);

  auto endpoint = endpoint_of(parsed->config, in);
  if (!endpoint) return fail(self.name, endpoint.failure());
  auto document = ask_coordinator(*endpoint, std::move(q));
  if (!document) return fail(self.name, document.failure());
  // Even what is printed as it is must be a document, not half of one.
  auto text = render(*document);
  if (!text) return fail(self.name, text.failure().with_context(*endpoint));
  std::cout << (parsed->config.json ? *document + "\n" : *text) << std::flush;
  return std::cout ? exit_ok : fail(self.name, {errc::io, "standard output cannot be written"});
}

}  // namespace fxfarm::cli
