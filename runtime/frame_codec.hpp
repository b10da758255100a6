#pragma once
// Frames on an engine's pipes: 4 bytes of length, big endian, then so many bytes. A pure state machine, fed in pieces.

#include "runtime/bytes.hpp"
#include "runtime/error.hpp"
#include "runtime/limits.hpp"

#include <array>
#include <functional>

namespace fxfarm {

inline constexpr std::size_t frame_prefix_bytes = 4;

// What is written before a frame of `length` bytes; the caller has checked it against its bound.
std::array<std::byte, frame_prefix_bytes> frame_prefix(std::size_t length);

class frame_parser {
public:
  explicit frame_parser(std::size_t frame_bytes_max = limits::engine_frame_bytes_max);

  // Takes any piece of the stream and calls `on_frame` for each frame that it completes. Errors: `protocol` for a frame
  // that is empty or beyond the bound; from then on every call gives that error. Memory follows the bytes that came,
  // not the length that was claimed.
  result<void> feed(byte_view piece, const std::function<void(bytes)>& on_frame);

  // Whether the stream could end here without cutting a frame.
  bool between_frames() const { return prefix_filled_ == 0; }

private:
  const std::size_t frame_bytes_max_;
  std::array<std::byte, frame_prefix_bytes> prefix_{};
  std::size_t prefix_filled_ = 0;
  std::size_t length_ = 0;
  bytes frame_;
  bool broken_ = false;
};

// How much may come that nothing was sent for, so that whoever reads it later, and by then asks for no more, is not
// flooded.
class frame_allowance {
public:
  frame_allowance(unsigned frames_max, std::size_t bytes_max) : frames_max_(frames_max), bytes_max_(bytes_max) {}

  // A frame has come. Errors: `protocol` when it is one too many, or makes them too long together.
  result<void> take(std::size_t length);
  // From now on as much may come as at first.
  void renew() { frames_ = 0, bytes_ = 0; }

private:
  const unsigned frames_max_;
  const std::size_t bytes_max_;
  unsigned frames_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace fxfarm
