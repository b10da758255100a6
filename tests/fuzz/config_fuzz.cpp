// A configuration file, for the role that the first byte picks.

#include "fuzz.hpp"
#include "runtime/config.hpp"

using namespace fxfarm;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const auto role = in.byte() % 4;
  config_inputs from;
  from.arguments = {"--config", "/farm.toml"};
  from.read_file = [&](const std::string&) -> result<std::string> { return std::string(in.text()); };
  from.host_name = "host";
  const auto told = [](const auto& parsed) {
    if (!parsed) fuzz::require(!parsed.failure().message.empty(), "a refusal says why");
  };
  switch (role) {
    case 0:
      told(parse_coordinator(from));
      break;
    case 1:
      told(parse_worker(from));
      break;
    case 2:
      told(parse_local(from));
      break;
    default:
      told(parse_client(from));
  }
  return 0;
}
