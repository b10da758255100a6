#include "runtime/peer_quotas.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

constexpr std::size_t forget_at_min = 1024;

}  // namespace

peer_quotas::account& peer_quotas::of(const std::string& name, time_point now) {
  if (const auto known = accounts_.find(name); known != accounts_.end()) return known->second;
  // Strangers make accounts as often as they connect: the work of forgetting them is spread over those.
  if (accounts_.size() >= forget_at_) forget_idle(now);
  return accounts_.try_emplace(name, bounds_.messages_per_second, now).first->second;
}

peer_quotas::share peer_quotas::take(account& mine, time_point now) const {
  const double most = bounds_.messages_per_second;
  if (mine.messages_.take(most, now)) return share::within;
  return mine.over_.take(most, now) ? share::over : share::far_over;
}

bool peer_quotas::join(account& mine) const {
  if (mine.connections_ >= bounds_.connections) return false;
  ++mine.connections_;
  return true;
}

// Whoever has no connection and all of a second's messages again is like somebody new.
void peer_quotas::forget_idle(time_point now) {
  const double most = bounds_.messages_per_second;
  std::erase_if(accounts_, [&](const auto& one) {
    const auto& mine = one.second;
    return mine.connections_ == 0 && mine.messages_.full(most, now) && mine.over_.full(most, now);
  });
  forget_at_ = std::max(forget_at_min, 2 * accounts_.size());
}

}  // namespace fxfarm
