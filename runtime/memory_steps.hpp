#pragma once
// Amounts of memory in steps, two for each doubling, so that jobs that want about as much are alike.

#include <bit>
#include <cstdint>

namespace fxfarm {

// Step 0 is nothing, step 1 is 64 MiB, then 96, 128, 192, 256, ...; the last one is 2 TiB and stands for more, too.
inline constexpr unsigned memory_steps = 32;
inline constexpr unsigned memory_step_last = memory_steps - 1;
inline constexpr std::uint64_t memory_step_bytes_least = 64ULL << 20;

constexpr std::uint64_t memory_step_bytes(unsigned step) {
  if (step == 0) return 0;
  const auto doubled = memory_step_bytes_least << ((step - 1) / 2);
  return step % 2 == 1 ? doubled : doubled + doubled / 2;
}

// The greatest that is no more than so many bytes.
constexpr unsigned memory_step_within(std::uint64_t bytes) {
  if (bytes < memory_step_bytes_least) return 0;
  if (bytes >= memory_step_bytes(memory_step_last)) return memory_step_last;
  const auto step = 2 * static_cast<unsigned>(std::bit_width(bytes / memory_step_bytes_least)) - 1;
  return bytes >= memory_step_bytes(step + 1) ? step + 1 : step;
}

// The least that is no less than so many bytes, as far as there is one.
constexpr unsigned memory_step_for(std::uint64_t bytes) {
  const auto within = memory_step_within(bytes);
  return within == memory_step_last || memory_step_bytes(within) >= bytes ? within : within + 1;
}

}  // namespace fxfarm
