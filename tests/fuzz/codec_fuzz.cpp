// A frame from a peer. What is taken for a message is one that can be said again, in the same bytes each time.

#include "fuzz.hpp"
#include "net/codec.hpp"

using namespace fxfarm;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto came = net::decode(std::as_bytes(std::span(data, size)));
  if (!came) return 0;
  const auto said = net::encode(came->content);
  const auto again = net::decode(said);
  fuzz::require(again.ok(), "what encode gives can be decoded");
  fuzz::require(again->content.index() == came->content.index(), "it is the same kind of message");
  fuzz::require(net::encode(again->content) == said, "encoding is stable");
  fuzz::require(net::tag_in(said) == net::tag_of(came->content), "its tag is found without decoding");
  return 0;
}
