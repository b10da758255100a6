#pragma once
// Messages to bytes and back. The wire form stands at the top of net/messages.hpp.

#include "net/messages.hpp"
#include "runtime/bytes.hpp"
#include "runtime/error.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fxfarm::net {

// Announces that bytes follow in chunks.
struct attachment_info {
  std::uint64_t stream = 0;
  std::uint64_t size = 0;  // bytes
  std::string digest;      // of the whole, see runtime/digest.hpp

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("stream", s.stream);
    f("size", s.size);
    f("digest", s.digest);
  }
};

struct envelope {
  message content;
  std::optional<attachment_info> attachment;
  blob enclosed;  // an attachment that came within the message and matches its digest
  std::string enclosed_digest = {};
};

// Fields named "reason" and "error" are for people and are cut to limits::text_bytes_max; everything else is encoded as
// it is, and it is the caller's to keep within what decode accepts. `room`: bytes that may be added without a new
// buffer.
bytes encode(const message& content, std::size_t room = 0);

// What encode gave, and that bytes follow in chunks.
bytes announce(bytes encoded, const attachment_info& attachment);
// What encode gave, and the attachment itself; takes room for no more than `enclosing_bytes` beside it.
bytes enclose(bytes encoded, byte_view attachment, std::string_view digest);
inline constexpr std::size_t enclosing_bytes = 112;

// What encode(chunk{stream, offset, data}) gives, less the `size` bytes of data that it ends with.
bytes encode_chunk_head(std::uint64_t stream, std::uint64_t offset, std::size_t size);

// Accepts any bytes: what is no message of ours, or passes a bound, is `protocol` or `too_large` with the field's path
// and what was expected there. Never throws.
result<envelope> decode(byte_view frame);

// The tag that the message has on the wire.
std::string_view tag_of(const message& content);
// The tag of what encode() gave; empty for other bytes.
std::string_view tag_in(byte_view encoded);

}  // namespace fxfarm::net
