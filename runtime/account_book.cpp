#include "runtime/account_book.hpp"

namespace fxfarm {

void account_book::join(const std::string& account, time_point now) {
  ++accounts_.try_emplace(account, bounds_.lookups_per_second, now).first->second.connections;
}

void account_book::leave(const std::string& account) {
  --accounts_.at(account).connections;
}

bool account_book::take_lookup(const std::string& account, time_point now) {
  return accounts_.at(account).lookups.take(bounds_.lookups_per_second, now);
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
    return mine.connections == 0 && mine.graphs == 0 && mine.lookups.full(bounds_.lookups_per_second, now);
  });
}

}  // namespace fxfarm
