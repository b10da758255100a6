#include "cli/operator_command.hpp"

#include "cli/console.hpp"

#include <algorithm>
#include <iostream>

namespace fxfarm::cli {

result<farm_address> farm_of(const client_config& config, const config_inputs& in) {
  auto directory = paths::runtime_directory(in.environment, in.uid);
  auto sockets = paths::local_sockets(directory);
  if (!config.endpoint.empty()) {
    const bool is_local = std::any_of(sockets.begin(), sockets.end(),
                                      [&](const std::string& s) { return config.endpoint == "ipc://" + s; });
    if (is_local) return farm_address{config.endpoint};
    auto keys = net::read_presenting(config.key, config.server_public_key);
    if (!keys) return keys.failure();
    return farm_address{config.endpoint, *std::move(keys)};
  }
  if (sockets.size() == 1) return farm_address{"ipc://" + sockets.front()};
  if (sockets.empty()) {
    return {errc::unreachable, "no local farm has a socket in " + directory + "; start one or give --endpoint"};
  }
  std::string all;
  for (const auto& s : sockets) all += " ipc://" + s;
  return {errc::bad_config, "there are several local farms, choose one with --endpoint:" + all};
}

exit_code run_question(const command& self, const client_config& config, const config_inputs& in, question q,
                       const renderer& render) {
  const auto farm = farm_of(config, in);
  if (!farm) return fail(self.name, farm.failure());
  auto document = ask_coordinator(*farm, std::move(q));
  if (!document) return fail(self.name, document.failure());
  return print_answer(self, config, *document, [&](const std::string& text) -> result<std::string> {
    auto rendered = render(text);
    if (!rendered) return rendered.failure().with_context(farm->endpoint);
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
