#include "runtime/account_book.hpp"

#include <algorithm>
#include <chrono>

namespace fxfarm {

void account_book::join(const std::string& account, time_point now) {
  auto [it, fresh] = accounts_.try_emplace(account);
  ++it->second.connections;
  if (!fresh) return;
  it->second.lookups_left = bounds_.lookups_per_second;
  it->second.counted_at = now;
}

void account_book::leave(const std::string& account) {
  --accounts_.at(account).connections;
}

bool account_book::take_lookup(const std::string& account, time_point now) {
  auto& mine = accounts_.at(account);
  mine.lookups_left = lookups_left(mine, now);
  mine.counted_at = now;
  if (mine.lookups_left < 1) return false;
  --mine.lookups_left;
  return true;
}

bool account_book::hold(const std::string& account, std::uint64_t bytes) {
  auto& mine = accounts_.at(account);
  if (mine.bytes + bytes > bounds_.graph_bytes) return false;
  mine.bytes += bytes;
  ++mine.graphs;
  return true;
}

void account_book::let_go(const std::string& account, std::uint64_t bytes) {
  auto& mine = accounts_.at(account);
  mine.bytes -= bytes;
  --mine.graphs;
}

std::uint64_t account_book::held() const {
  std::uint64_t total = 0;
  for (const auto& [account, mine] : accounts_) total += mine.bytes;
  return total;
}

void account_book::forget_idle(time_point now) {
  std::erase_if(accounts_, [&](const auto& account) {
    const auto& mine = account.second;
    return mine.connections == 0 && mine.graphs == 0 && lookups_left(mine, now) >= bounds_.lookups_per_second;
  });
}

double account_book::lookups_left(const entry& mine, time_point now) const {
  const double most = bounds_.lookups_per_second;
  const double since = std::chrono::duration<double>(now - mine.counted_at).count();
  return std::min(most, mine.lookups_left + since * most);
}

}  // namespace fxfarm
