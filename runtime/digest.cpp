#include "runtime/digest.hpp"

#include <array>

#include <sodium.h>

namespace fxfarm {
namespace {

constexpr std::size_t digest_bytes = digest_hex_chars / 2;
using raw_digest = std::array<unsigned char, digest_bytes>;

constexpr auto is_hex = [] {
  std::array<bool, 256> found{};
  for (const unsigned char c : {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'}) {
    found[c] = true;
  }
  return found;
}();

std::string to_hex(const raw_digest& raw) {
  std::string hex(digest_hex_chars + 1, '\0');
  sodium_bin2hex(hex.data(), hex.size(), raw.data(), raw.size());
  hex.resize(digest_hex_chars);
  return hex;
}

const unsigned char* raw(byte_view data) {
  return reinterpret_cast<const unsigned char*>(data.data());
}

std::array<std::byte, 8> length_of(std::string_view content) {
  std::array<std::byte, 8> length;
  for (std::size_t i = 0; i < length.size(); ++i) length[i] = static_cast<std::byte>(content.size() >> (8 * i));
  return length;
}

}  // namespace

std::string digest_hex(byte_view data) {
  raw_digest out;
  crypto_generichash(out.data(), out.size(), raw(data), data.size(), nullptr, 0);
  return to_hex(out);
}

bool equal_secrets(std::string_view a, std::string_view b) {
  const auto of_a = digest_hex(view_of(a)), of_b = digest_hex(view_of(b));
  return sodium_memcmp(of_a.data(), of_b.data(), digest_hex_chars) == 0;
}

bool is_digest(std::string_view text) {
  if (text.size() != digest_hex_chars) return false;
  // Without a way out in between, and by a table: every lookup brings some.
  bool hex = true;
  for (const char c : text) hex &= is_hex[static_cast<unsigned char>(c)];
  return hex;
}

struct digest_builder::state {
  crypto_generichash_state hash;
};

digest_builder::digest_builder() : state_(std::make_unique<state>()) {
  crypto_generichash_init(&state_->hash, nullptr, 0, digest_bytes);
}

digest_builder::~digest_builder() = default;

digest_builder& digest_builder::append(byte_view data) {
  crypto_generichash_update(&state_->hash, raw(data), data.size());
  return *this;
}

digest_builder& digest_builder::field(std::string_view content) {
  return append(length_of(content)).append(view_of(content));
}

void append_field(bytes& to, std::string_view content) {
  const auto length = length_of(content);
  const auto text = view_of(content);
  to.insert(to.end(), length.begin(), length.end());
  to.insert(to.end(), text.begin(), text.end());
}

std::string digest_builder::finish() {
  raw_digest out;
  crypto_generichash_final(&state_->hash, out.data(), out.size());
  return to_hex(out);
}

}  // namespace fxfarm
