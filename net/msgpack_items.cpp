#include "net/msgpack_items.hpp"

#include "runtime/limits.hpp"

#include <bit>
#include <cassert>

namespace fxfarm::net {
namespace {

constexpr const char* cut_off = "no msgpack: insufficient bytes";

bool positive(item& out, std::uint64_t n) {
  out.what = item::kind::positive;
  out.number = n;
  return true;
}

bool negative(item& out, std::int64_t n) {
  out.what = item::kind::negative;
  out.number = static_cast<std::uint64_t>(n);
  return true;
}

// Of so many bytes.
bool integer(item& out, std::uint64_t n, std::size_t size) {
  assert(size == 1 || size == 2 || size == 4 || size == 8);
  const auto unused_bits = (64 - 8 * size) % 64;
  const auto value = static_cast<std::int64_t>(n << unused_bits) >> unused_bits;
  return value < 0 ? negative(out, value) : positive(out, n);
}

bool real(item& out, double value) {
  out.what = item::kind::real;
  out.real = value;
  return true;
}

}  // namespace

bool item_reader::next_of_any(item& out) {
  if (rest_.empty()) return fail(errc::protocol, cut_off);
  const auto code = static_cast<unsigned char>(rest_.front());
  rest_.remove_prefix(1);
  if (code <= 0x7F) return positive(out, code);
  if (code <= 0x8F) return container(out, item::kind::map, code & 0x0FU);
  if (code <= 0x9F) return container(out, item::kind::list, code & 0x0FU);
  if (code <= 0xBF) return sized(out, item::kind::text, code & 0x1FU);
  if (code >= 0xE0) return negative(out, static_cast<signed char>(code));
  return by_code(out, code);
}

bool item_reader::skip(const item& head, std::size_t depth) {
  if (head.what != item::kind::list && head.what != item::kind::map) return true;
  if (depth > limits::message_depth_max) return fail(errc::too_large, "depth size overflow");
  item inner;
  for (auto left = head.what == item::kind::map ? 2 * head.count : head.count; left > 0; --left) {
    if (!next(inner) || !skip(inner, depth + 1)) return false;
  }
  return true;
}

// In each family of codes the length, or the number itself, has 1, 2, 4 or 8 bytes.
bool item_reader::by_code(item& out, unsigned char code) {
  std::uint64_t n = 0;
  if (code == 0xC0) {
    out.what = item::kind::nil;
    return true;
  }
  if (code == 0xC1) return fail(errc::protocol, "no msgpack: parse error");
  if (code <= 0xC3) {
    out.what = item::kind::boolean;
    out.truth = code == 0xC3;
    return true;
  }
  if (code <= 0xC6) return number(1U << (code - 0xC4U), n) && sized(out, item::kind::binary, n);
  if (code <= 0xC9) return number(1U << (code - 0xC7U), n) && extension(out, n);
  if (code == 0xCA) return number(4, n) && real(out, std::bit_cast<float>(static_cast<std::uint32_t>(n)));
  if (code == 0xCB) return number(8, n) && real(out, std::bit_cast<double>(n));
  if (code <= 0xCF) return number(1U << (code - 0xCCU), n) && positive(out, n);
  if (code <= 0xD3) return number(1U << (code - 0xD0U), n) && integer(out, n, 1U << (code - 0xD0U));
  if (code <= 0xD8) return extension(out, 1U << (code - 0xD4U));
  if (code <= 0xDB) return number(1U << (code - 0xD9U), n) && sized(out, item::kind::text, n);
  if (code <= 0xDD) return number(2U << (code - 0xDCU), n) && container(out, item::kind::list, n);
  return number(2U << (code - 0xDEU), n) && container(out, item::kind::map, n);
}

// Big endian.
bool item_reader::number(std::size_t size, std::uint64_t& out) {
  if (rest_.size() < size) return fail(errc::protocol, cut_off);
  for (std::size_t i = 0; i < size; ++i) out = out << 8U | static_cast<unsigned char>(rest_[i]);
  rest_.remove_prefix(size);
  return true;
}

bool item_reader::sized(item& out, item::kind what, std::uint64_t size) {
  if (rest_.size() < size) return fail(errc::protocol, cut_off);
  out.what = what;
  out.data = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return true;
}

bool item_reader::container(item& out, item::kind what, std::uint64_t count) {
  if (count > limits::list_items_max) {
    return fail(errc::too_large, what == item::kind::map ? "map size overflow" : "array size overflow");
  }
  out.what = what;
  out.count = count;
  return true;
}

// Nothing of ours has one.
bool item_reader::extension(item& out, std::uint64_t size) {
  if (size > 0) return fail(errc::too_large, "ext size overflow");
  out.what = item::kind::extension;
  std::uint64_t type = 0;
  return number(1, type);
}

bool item_reader::fail(errc code, std::string what) {
  fault_ = {code, std::move(what)};
  return false;
}

}  // namespace fxfarm::net
