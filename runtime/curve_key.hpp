#pragma once
// The keys of links: 32 bytes each, written as 40 characters of Z85 (ZeroMQ RFC 32), and the files that hold them, in
// the form that czmq and pyzmq write and read.

#include "runtime/error.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

inline constexpr std::size_t curve_key_chars = 40;

// Whether `text` stands for 32 bytes.
bool is_curve_key(std::string_view text);

struct key_pair {
  std::string public_key;
  std::string secret_key;
};

// Files. The one with the secret has the public key, too.
std::string render_public_key(const key_pair& keys);
std::string render_secret_key(const key_pair& keys);

// Reads both, from a file that is its owner's alone. Errors, which begin with `option`: bad_config.
result<key_pair> read_key_pair(const std::string& option, const std::string& path);

// Each of `given` is a key, or the name of a file with one; returns the keys. Errors as above.
result<std::vector<std::string>> read_public_keys(const std::string& option, const std::vector<std::string>& given);

}  // namespace fxfarm
