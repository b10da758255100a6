#pragma once
// Content digests: BLAKE2b with 32 bytes of output (RFC 7693), as libsodium computes it; written as 64 hex digits.
// Python computes the same as hashlib.blake2b(data, digest_size=32).

#include "runtime/bytes.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace fxfarm {

inline constexpr std::size_t digest_hex_chars = 64;

// Digest of `data` as lower-case hex.
std::string digest_hex(byte_view data);

// Whether both are the same, in a time that tells nothing of where they differ or how long they are.
bool equal_secrets(std::string_view a, std::string_view b);

// Whether `text` has the form of a digest: 64 lower-case hex digits.
bool is_digest(std::string_view text);

// Digest of a stream or of several fields. Each field is hashed with its length before it, so that ("ab", "c") and
// ("a", "bc") differ.
class digest_builder {
public:
  digest_builder();
  ~digest_builder();
  digest_builder(const digest_builder&) = delete;
  digest_builder& operator=(const digest_builder&) = delete;

  digest_builder& append(byte_view data);           // as it is
  digest_builder& field(std::string_view content);  // length (8 bytes, little endian), then content
  std::string finish();                             // call once

private:
  struct state;
  std::unique_ptr<state> state_;
};

// The bytes that digest_builder::field hashes: for many small fields, whose digest is faster to have at once.
void append_field(bytes& to, std::string_view content);

}  // namespace fxfarm
