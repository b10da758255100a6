#pragma once
// Which of a Redis cluster's 16384 slots a key belongs to
// (https://redis.io/docs/latest/operate/oss_and_stack/reference/ cluster-spec/): CRC16 (XMODEM) of what stands between
// the first { and the next }, or of all when that is nothing.

#include <cstdint>
#include <string_view>

namespace fxfarm {

inline constexpr std::uint16_t redis_slots = 16384;

std::uint16_t redis_slot(std::string_view key);

}  // namespace fxfarm
