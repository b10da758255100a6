#include "runtime/artifact_signature.hpp"

#include "runtime/digest.hpp"
#include "runtime/key_file.hpp"
#include "runtime/limits.hpp"
#include "runtime/secret_file.hpp"

#include <algorithm>
#include <array>
#include <span>

#include <sodium.h>

namespace fxfarm {
namespace {

using public_bytes = std::array<unsigned char, crypto_sign_PUBLICKEYBYTES>;
using secret_bytes = std::array<unsigned char, crypto_sign_SECRETKEYBYTES>;
using seed_bytes = std::array<unsigned char, crypto_sign_SEEDBYTES>;
using signature_bytes = std::array<unsigned char, crypto_sign_BYTES>;

std::string to_hex(std::span<const unsigned char> raw) {
  std::string hex(2 * raw.size() + 1, '\0');
  ::sodium_bin2hex(hex.data(), hex.size(), raw.data(), raw.size());
  hex.pop_back();
  return hex;
}

// Only of as many digits as `out` takes, so that one signature has one text.
bool from_hex(std::string_view hex, std::span<unsigned char> out) {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (hex.size() != 2 * out.size() || !std::all_of(hex.begin(), hex.end(), is_digit)) return false;
  return ::sodium_hex2bin(out.data(), out.size(), hex.data(), hex.size(), nullptr, nullptr, nullptr) == 0;
}

// The secret key as libsodium wants it, of the seed that files have. False when the two are not of one pair.
bool expand(const key_pair& keys, secret_bytes& secret) {
  seed_bytes seed{};
  public_bytes made{};
  public_bytes given{};
  const bool well = from_hex(keys.secret_key, seed) && from_hex(keys.public_key, given) &&
                    ::crypto_sign_seed_keypair(made.data(), secret.data(), seed.data()) == 0 && made == given;
  ::sodium_memzero(seed.data(), seed.size());
  return well;
}

std::string render(std::string_view what, std::string_view hint, const key_pair& keys, bool secret) {
  std::string text = "# fxfarm: " + std::string(what) + " key of a pair that signs artifacts (Ed25519)\n# " +
                     std::string(hint) + "\n\npublic-key = \"" + keys.public_key + "\"\n";
  if (secret) text += "secret-key = \"" + keys.secret_key + "\"\n";
  return text;
}

}  // namespace

bytes signed_text(const artifact_facts& what) {
  bytes text;
  append_field(text, "fxfarm artifact 1");
  append_field(text, what.stage_key);
  append_field(text, what.digest);
  append_field(text, std::to_string(what.bytes));
  return text;
}

bool is_signing_key(std::string_view text) {
  public_bytes raw{};
  return from_hex(text, raw);
}

bool is_signed(const artifact_facts& what, const artifact_signature& by) {
  public_bytes signer{};
  signature_bytes value{};
  if (!from_hex(by.signer, signer) || !from_hex(by.value, value)) return false;
  const auto text = signed_text(what);
  return ::crypto_sign_verify_detached(value.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                                       signer.data()) == 0;
}

result<artifact_signer> artifact_signer::read(const std::string& option, const std::string& path) {
  const auto text =
      read_secret_text({.option = option, .path = path, .bytes_max = limits::key_file_bytes_max, .owner_only = true});
  if (!text) return text.failure();
  const key_pair keys{key_file_value("public-key", *text), key_file_value("secret-key", *text)};
  if (is_curve_key(keys.secret_key)) {
    return {errc::bad_config, option + ": " + path + " has a link's key; `fxfarm keygen --signing` makes one to sign"};
  }
  auto signer = of(keys);
  if (signer) return signer;
  return {errc::bad_config, option + ": " + path +
                                (keys.secret_key.empty() ? " has no secret key" : " has no pair of keys that sign") +
                                "; `fxfarm keygen --signing` makes such a file"};
}

result<artifact_signer> artifact_signer::of(const key_pair& keys) {
  secret_bytes secret{};
  const bool pair = expand(keys, secret);
  ::sodium_memzero(secret.data(), secret.size());
  if (!pair) return {errc::bad_config, "the two keys are not of one pair"};
  return artifact_signer(keys);
}

artifact_signature artifact_signer::sign(const artifact_facts& what) const {
  secret_bytes secret{};
  signature_bytes value{};
  const auto text = signed_text(what);
  // A pair, so neither can fail.
  expand(keys_, secret);
  ::crypto_sign_detached(value.data(), nullptr, reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                         secret.data());
  ::sodium_memzero(secret.data(), secret.size());
  return {keys_.public_key, to_hex(value)};
}

key_pair make_signing_keys() {
  public_bytes pub{};
  secret_bytes secret{};
  seed_bytes seed{};
  ::randombytes_buf(seed.data(), seed.size());
  ::crypto_sign_seed_keypair(pub.data(), secret.data(), seed.data());
  key_pair made{to_hex(pub), to_hex(seed)};
  ::sodium_memzero(seed.data(), seed.size());
  ::sodium_memzero(secret.data(), secret.size());
  return made;
}

std::string render_signing_public(const key_pair& keys) {
  return render("public", "Others may have it, if they can trust where they have it from.", keys, false);
}

std::string render_signing_secret(const key_pair& keys) {
  return render("secret", "Nobody else may have it.", keys, true);
}

}  // namespace fxfarm
