#pragma once
// msgpack as it lies in a frame: heads are looked at one after the other, nothing is copied or allocated.
// https://github.com/msgpack/msgpack/blob/master/spec.md

#include "runtime/error.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fxfarm::net {

// One value's head: all of a number, text or bytes; of a list or map how many values follow it.
struct item {
  enum class kind : std::uint8_t { nil, boolean, positive, negative, real, text, binary, list, map, extension };
  kind what = kind::nil;
  bool truth = false;
  std::uint64_t number = 0;  // a negative one as two's complement
  double real = 0;
  std::string_view data;
  std::size_t count = 0;  // of a map, pairs
};

class item_reader {
public:
  explicit item_reader(std::string_view frame) : rest_(frame) {}

  std::string_view rest() const { return rest_; }
  // `protocol` or `too_large`, after next() or skip() have said no.
  const error& fault() const { return fault_; }

  // False at what is no msgpack, or a list or map that is longer than any in a message may be.
  bool next(item& out) { return short_text(out) || next_of_any(out); }
  // Passes over the values that belong to a head. False as above, or when they are nested too deeply; `depth` is how
  // deep the head's own are.
  bool skip(const item& head, std::size_t depth);

private:
  // Most of a message is that; false leaves everything as it was.
  bool short_text(item& out) {
    if (rest_.empty()) return false;
    const auto code = static_cast<unsigned char>(rest_.front());
    const std::size_t size = code & 0x1FU;
    if ((code & 0xE0U) != 0xA0U || rest_.size() <= size) return false;
    out.what = item::kind::text;
    out.data = rest_.substr(1, size);
    rest_.remove_prefix(1 + size);
    return true;
  }
  bool next_of_any(item& out);
  bool by_code(item& out, unsigned char code);
  bool number(std::size_t size, std::uint64_t& out);
  bool sized(item& out, item::kind what, std::uint64_t size);
  bool container(item& out, item::kind what, std::uint64_t count);
  bool extension(item& out, std::uint64_t size);
  bool fail(errc code, std::string what);

  std::string_view rest_;
  error fault_{errc::none, {}};
};

}  // namespace fxfarm::net
