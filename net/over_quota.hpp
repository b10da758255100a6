#pragma once
// What becomes of a message whose key has sent more than it may, while it is not far more. Private to net/.
//
// What can be answered is, with `busy`. What is said again anyway, or is for statistics, is not listened to. The rest
// is taken: it continues what the coordinator has begun or asked for, in numbers that have bounds of their own, and
// half of it would be worse than none, such as an attachment with a hole or a result that the worker believes to have
// arrived.

#include "net/codec.hpp"

#include <cstdint>
#include <variant>

namespace fxfarm::net {

enum class over_quota : std::uint8_t { answered, unheard, taken };

inline over_quota fate_over_quota(const envelope& came) {
  const auto& what = came.content;
  if (std::holds_alternative<lookup>(what) || std::holds_alternative<ask>(what)) {
    // No question has bytes that follow it.
    return came.attachment ? over_quota::unheard : over_quota::answered;
  }
  const bool said_again = std::holds_alternative<switched>(what) || std::holds_alternative<stage_armed>(what) ||
                          std::holds_alternative<switch_vote>(what);
  return said_again ? over_quota::unheard : over_quota::taken;
}

}  // namespace fxfarm::net
