#pragma once
// One artifact as a file. Little endian:
//
//   magic "fxfarmst" | version u32 | bytes of attributes u32 | bytes of data u64 | digest, 64 hex digits
//   attributes: made_by, count of phases u32, then each phase's name and its seconds as a double's bits, signer,
//   signature
//   data
//
// A text is its length as u32 and its bytes. The digest covers the key and everything but itself, so that a file under
// a wrong name is as corrupt as one with a flipped bit. It finds damage; whoever can write the file can make another.

#include "runtime/store.hpp"

namespace fxfarm {

// Everything of the file that comes before the data. Errors: `too_large` for attributes beyond
// limits::store_attributes_bytes_max.
result<bytes> store_file_head(const std::string& key, const stored& what);

// What a head tells of the data that belongs to it; nothing of it has been checked against its digest.
struct store_file_facts {
  std::uint32_t attribute_bytes = 0;
  std::uint64_t data_bytes = 0;
  std::string digest;
};
inline constexpr std::size_t store_file_fixed_bytes = 8 + 4 + 4 + 8 + 64;  // of a head, before its attributes
// `head`: at least its first store_file_fixed_bytes. Errors: `corrupt`.
result<store_file_facts> look_at_store_file_head(byte_view head);
// The artifact from its two parts, checked. Errors: `corrupt` saying what does not fit.
result<stored> join_store_file(const std::string& key, byte_view head, bytes data);

// Reads the artifact from an open file, from its start. Errors: `corrupt` saying what does not fit, `io`.
result<stored> read_store_file(int fd, const std::string& key);
// What its head tells of its signature, with nothing checked. Errors: as above.
result<artifact_signature> read_store_file_signature(int fd);

}  // namespace fxfarm
