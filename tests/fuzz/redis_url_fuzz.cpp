// Where Redis is. What a log shows of it can be read again, and has no password.

#include "fuzz.hpp"
#include "runtime/limits.hpp"
#include "runtime/redis_url.hpp"

using namespace fxfarm;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto target = parse_redis_url(text_of(std::as_bytes(std::span(data, size))));
  if (!target) return 0;
  fuzz::require(!target->addresses.empty(), "there is an address");
  // With the ports that were left out it may be longer than a URL may be.
  const auto shown = to_string(*target);
  if (shown.size() > limits::text_bytes_max) return 0;
  const auto again = parse_redis_url(shown);
  fuzz::require(again.ok(), "what is shown of a URL is one");
  fuzz::require(again->password.empty() && again->user.empty(), "it shows no secret");
  fuzz::require(again->addresses == target->addresses && again->kind == target->kind, "it leads to the same place");
  (void)stays_on_host(*target);
  return 0;
}
