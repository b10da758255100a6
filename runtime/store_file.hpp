#pragma once
// One artifact as a file. Little endian:
//
//   magic "fxfarmst" | version u32 | bytes of attributes u32 | bytes of data u64 | digest, 64 hex digits
//   attributes: made_by, count of phases u32, then each phase's name and its seconds as a double's bits
//   data
//
// A text is its length as u32 and its bytes. The digest covers the key and everything but itself, so that a file under
// a wrong name is as corrupt as one with a flipped bit.

#include "runtime/store.hpp"

namespace fxfarm {

// Everything of the file that comes before the data. Errors: `too_large` for attributes beyond
// limits::store_attributes_bytes_max.
result<bytes> store_file_head(const std::string& key, const stored& what);

// Reads the artifact from an open file, from its start. Errors: `corrupt` saying what does not fit, `io`.
result<stored> read_store_file(int fd, const std::string& key);

}  // namespace fxfarm
