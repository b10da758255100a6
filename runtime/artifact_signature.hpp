#pragma once
// Who vouches for an artifact: an Ed25519 signature (RFC 8032, as libsodium computes it) by the worker that made it.
// Keys are 32 bytes and signatures 64, written as lower-case hex, which no link's key looks like.

#include "runtime/bytes.hpp"
#include "runtime/curve_key.hpp"
#include "runtime/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace fxfarm {

inline constexpr std::size_t signing_key_chars = 64;
inline constexpr std::size_t signature_chars = 128;

// What is vouched for: these bytes for this stage of this graph, and nothing else.
struct artifact_facts {
  std::string stage_key;
  std::string digest;  // of the artifact's bytes, see runtime/digest.hpp
  std::uint64_t bytes = 0;
};

struct artifact_signature {
  std::string signer;  // public key; empty: nobody has signed it
  std::string value;

  bool there() const { return !signer.empty() || !value.empty(); }
  bool operator==(const artifact_signature&) const = default;
};

// The text that is signed: a name that no other text of ours begins with, and each fact with its length before it.
bytes signed_text(const artifact_facts& what);

// Whether `text` has the form of a public key.
bool is_signing_key(std::string_view text);

// Whether whoever has the signer's secret key has signed just that.
bool is_signed(const artifact_facts& what, const artifact_signature& by);

// The secret key of a signer. Copies share nothing; any thread.
class artifact_signer {
public:
  // The file that render_signing_secret has written, its owner's alone. Errors, which begin with `option`: bad_config.
  static result<artifact_signer> read(const std::string& option, const std::string& path);
  // Errors: bad_config for keys that are not of one pair.
  static result<artifact_signer> of(const key_pair& keys);

  artifact_signature sign(const artifact_facts& what) const;
  const std::string& public_key() const { return keys_.public_key; }

private:
  explicit artifact_signer(key_pair keys) : keys_(std::move(keys)) {}

  key_pair keys_;
};

key_pair make_signing_keys();
// Files. The one with the secret has the public key, too.
std::string render_signing_public(const key_pair& keys);
std::string render_signing_secret(const key_pair& keys);

}  // namespace fxfarm
