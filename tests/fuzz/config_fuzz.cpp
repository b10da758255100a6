// A configuration file: its tables and keys, and options of every kind. What was taken can be written and taken again.

#include "fuzz.hpp"
#include "runtime/config.hpp"
#include "runtime/config_sources.hpp"
#include "runtime/options.hpp"

using namespace fxfarm;

namespace {

// A whole configuration takes milliseconds under the sanitizers, as the options of all roles are declared for it.
constexpr std::size_t inputs_for_a_whole = 256;

struct every_kind {
  bool boolean = false;
  std::string text, path, socket_file, one_of, endpoint, address, redis_url, key_prefix;
  std::vector<std::string> endpoints, farm, host_names, public_keys;
  unsigned count = 1;
  std::uint64_t byte_count = 1;
  std::chrono::milliseconds duration{1};
  std::optional<std::chrono::milliseconds> maybe;
};

// Points into what it is declared for.
option_set declare(every_kind& c) {
  option_set o;
  o.add("boolean", c.boolean, kinds::boolean(), "");
  o.add("text", c.text, kinds::text(), "");
  o.add("path", c.path, kinds::path(), "");
  o.add("socket_file", c.socket_file, kinds::socket_file(), "");
  o.add("one_of", c.one_of, kinds::one_of({"text", "json"}), "");
  o.add("endpoint", c.endpoint, kinds::endpoint(), "");
  o.add("endpoints", c.endpoints, kinds::endpoints(), "");
  o.add("farm", c.farm, kinds::farm(), "");
  o.add("host_names", c.host_names, kinds::host_names(), "");
  o.add("address", c.address, kinds::address_or_off(), "");
  o.add("count", c.count, kinds::count(1, 1024), "");
  o.add("byte_count", c.byte_count, kinds::byte_count(), "");
  o.add("duration", c.duration, kinds::duration(), "");
  o.add("maybe", c.maybe, kinds::maybe(kinds::duration()), "");
  o.add("redis_url", c.redis_url, kinds::redis_url(), "");
  o.add("public_keys", c.public_keys, kinds::public_keys(), "");
  o.add("key_prefix", c.key_prefix, kinds::key_prefix(), "");
  return o;
}

void parts(const std::string& text) {
  static every_kind values;
  static const auto options = declare(values);
  static const sources::table_names allowed{{"", {}}, {"coordinator", options.names()}, {"worker", {"slots"}}};
  const auto found = sources::from_toml(text, "/farm.toml", options, "coordinator", allowed);
  if (!found) return fuzz::require(!found.failure().message.empty(), "a refusal says why");
  for (const auto& [name, value] : *found) {
    const auto* o = options.find(name);
    if (o == nullptr || !o->assign(value.text)) continue;
    const auto shown = o->current();
    fuzz::require(o->assign(shown) && o->current() == shown, "what was taken can be written and taken again");
  }
}

void whole(const std::string& text, unsigned role) {
  config_inputs from;
  from.arguments = {"--config", "/farm.toml"};
  from.read_file = [&](const std::string&) -> result<std::string> { return text; };
  from.host_name = "host";
  const auto told = [](const auto& parsed) {
    if (!parsed) fuzz::require(!parsed.failure().message.empty(), "a refusal says why");
  };
  if (role == 0) return told(parse_coordinator(from));
  if (role == 1) return told(parse_worker(from));
  if (role == 2) return told(parse_local(from));
  told(parse_client(from));
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(text_of(std::as_bytes(std::span(data, size))));
  parts(text);
  const auto chosen = std::hash<std::string>()(text);
  if (chosen % inputs_for_a_whole == 0) whole(text, chosen / inputs_for_a_whole % 4);
  return 0;
}
