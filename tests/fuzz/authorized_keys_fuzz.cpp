// The file that says who may do what.

#include "fuzz.hpp"
#include "runtime/authorized_keys.hpp"

using namespace fxfarm;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto keys = authorized_keys::parse(text_of(std::as_bytes(std::span(data, size))));
  if (!keys) fuzz::require(!keys.failure().message.empty(), "a refusal says why");
  return 0;
}
