#pragma once
// Byte buffers: owned, shared and looked at.

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

using bytes = std::vector<std::byte>;
// What actors and threads pass to each other: immutable, so that sharing it needs no lock.
using blob = std::shared_ptr<const bytes>;
using byte_view = std::span<const std::byte>;

inline byte_view view_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view text_of(byte_view data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}
inline bytes to_bytes(std::string_view text) {
  auto v = view_of(text);
  return {v.begin(), v.end()};
}
inline blob make_blob(bytes data) {
  return std::make_shared<const bytes>(std::move(data));
}

}  // namespace fxfarm
