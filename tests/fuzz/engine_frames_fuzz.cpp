// What an engine writes to its pipe. Cut anywhere, it gives the same frames; and whatever is in one is a report or an
// error.

#include "actors/engine_frames.hpp"
#include "fuzz.hpp"
#include "runtime/frame_codec.hpp"

using namespace fxfarm;

namespace {

struct parsed_frames {
  std::vector<bytes> frames;
  bool broken = false;

  bool operator==(const parsed_frames&) const = default;
};

parsed_frames parse(byte_view stream, std::size_t piece) {
  parsed_frames out;
  frame_parser parser(4096);
  while (!stream.empty() && !out.broken) {
    const auto n = std::min(piece, stream.size());
    out.broken = !parser.feed(stream.first(n), [&](bytes frame) { out.frames.push_back(std::move(frame)); }).ok();
    stream = stream.subspan(n);
  }
  return out;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::size_t piece = 1U + in.byte();
  const auto whole = parse(in.rest(), size + 1);
  fuzz::require(parse(in.rest(), piece) == whole, "frames do not depend on how they come");
  for (const auto& frame : whole.frames) (void)actors::decode_report(frame);
  (void)actors::decode_report(in.rest());
  return 0;
}
