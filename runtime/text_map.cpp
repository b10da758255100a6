#include "runtime/text_map.hpp"

#include <cstring>

#include <sodium.h>

namespace fxfarm {

static_assert(std::tuple_size_v<text_hash::seed> == crypto_shorthash_KEYBYTES);
static_assert(sizeof(std::size_t) == crypto_shorthash_BYTES);

text_hash::seed& text_hash::of_process() {
  static seed drawn = [] {
    seed fresh{};
    randombytes_buf(fresh.data(), fresh.size());
    return fresh;
  }();
  return drawn;
}

void text_hash::fix_seed_of_process(const seed& known) {
  of_process() = known;
}

std::size_t text_hash::operator()(std::string_view text) const {
  std::array<unsigned char, crypto_shorthash_BYTES> out{};
  crypto_shorthash(out.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size(), seed_->data());
  std::size_t hash = 0;
  std::memcpy(&hash, out.data(), sizeof hash);
  return hash;
}

}  // namespace fxfarm
