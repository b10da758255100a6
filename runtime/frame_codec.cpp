#include "runtime/frame_codec.hpp"

#include <algorithm>

namespace fxfarm {

std::array<std::byte, frame_prefix_bytes> frame_prefix(std::size_t length) {
  std::array<std::byte, frame_prefix_bytes> prefix;
  for (std::size_t i = 0; i < prefix.size(); ++i) {
    prefix[i] = static_cast<std::byte>(length >> (8 * (prefix.size() - 1 - i)));
  }
  return prefix;
}

frame_parser::frame_parser(std::size_t frame_bytes_max) : frame_bytes_max_(frame_bytes_max) {}

result<void> frame_parser::feed(byte_view piece, const std::function<void(bytes)>& on_frame) {
  while (!broken_ && !piece.empty()) {
    if (prefix_filled_ < prefix_.size()) {
      const auto n = std::min(piece.size(), prefix_.size() - prefix_filled_);
      std::copy_n(piece.begin(), n, prefix_.begin() + prefix_filled_);
      prefix_filled_ += n;
      piece = piece.subspan(n);
      if (prefix_filled_ < prefix_.size()) break;
      length_ = 0;
      for (auto b : prefix_) length_ = length_ << 8 | std::to_integer<std::size_t>(b);
      broken_ = length_ == 0 || length_ > frame_bytes_max_;
      continue;
    }
    const auto n = std::min(piece.size(), length_ - frame_.size());
    frame_.insert(frame_.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n));
    piece = piece.subspan(n);
    if (frame_.size() < length_) break;
    prefix_filled_ = 0;
    on_frame(std::exchange(frame_, {}));
  }
  if (!broken_) return {};
  return {errc::protocol, "a frame of " + std::to_string(length_) + " bytes, 1 to " + std::to_string(frame_bytes_max_) +
                              " are allowed"};
}

result<void> frame_allowance::take(std::size_t length) {
  if (frames_ == frames_max_) {
    return {errc::protocol, "more than " + std::to_string(frames_max_) + " frames in a row that nothing was sent for"};
  }
  if (length > bytes_max_ - bytes_) {
    return {errc::protocol,
            "more than " + std::to_string(bytes_max_) + " bytes of frames in a row that nothing was sent for"};
  }
  ++frames_;
  bytes_ += length;
  return {};
}

}  // namespace fxfarm
