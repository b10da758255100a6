#pragma once
// What the fuzz targets share. Each is a program of libFuzzer's (https://llvm.org/docs/LibFuzzer.html): bytes that
// nobody vouches for go in, and whatever is not as it must be ends the program.

#include "runtime/bytes.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

namespace fxfarm::fuzz {

// Ends the program, which keeps the input that led here.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// Takes values from the front of an input; at its end it gives zeros.
class input {
public:
  input(const std::uint8_t* data, std::size_t size) : rest_(std::as_bytes(std::span(data, size))) {}

  bool empty() const { return rest_.empty(); }
  byte_view rest() const { return rest_; }
  std::string_view text() const { return text_of(rest_); }
  std::uint8_t byte() {
    const auto front = take(1);
    return front.empty() ? 0 : std::to_integer<std::uint8_t>(front[0]);
  }
  // 16 bits, little endian.
  std::size_t number() {
    const std::size_t low = byte();
    return low | static_cast<std::size_t>(byte()) << 8U;
  }
  // At most so many bytes.
  byte_view take(std::size_t size) {
    const auto front = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(front.size());
    return front;
  }

private:
  byte_view rest_;
};

}  // namespace fxfarm::fuzz

// What libFuzzer calls, with external linkage as it wants.
extern "C" __attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                                                             std::size_t size);
