#include "net/connection_table.hpp"

namespace fxfarm::net {
namespace {

void count_down(text_map<std::size_t>& in, const std::string& what) {
  const auto found = in.find(what);
  if (found != in.end() && --found->second == 0) in.erase(found);
}

std::size_t count_of(const text_map<std::size_t>& in, const std::string& what) {
  const auto found = in.find(what);
  return found == in.end() ? 0 : found->second;
}

}  // namespace

bool connection_table::accepted(int descriptor, ino_t inode, const std::string& address, time_point now) {
  ended(descriptor);  // ZeroMQ does not tell of every end
  const bool room = address.empty() || unheard_of(address) < bounds_.unheard_per_address;
  auto& one = connections_[descriptor];
  one.inode = inode;
  one.address = address;
  one.last_before = last_;
  limit(descriptor, one, now + 2 * bounds_.patience);
  return room;
}

void connection_table::ended(int descriptor) {
  const auto found = connections_.find(descriptor);
  if (found == connections_.end()) return;
  limit(descriptor, found->second, std::nullopt);
  const auto ticket = held_.find(found->second.shown);
  connections_.erase(found);
  // A peer's is given back when that is known to have gone, too.
  if (ticket != held_.end() && ticket->second.until) give_back(ticket->first);
}

std::optional<connection_table::ticket> connection_table::let_in(const std::string& key, time_point now) {
  expire_tickets(now);
  if (of_key(key) >= bounds_.per_key) return std::nullopt;
  const auto number = ++last_;
  ++of_key_[key];
  auto& one = held_[number];
  one.key = key;
  limit(number, one, now + 2 * bounds_.patience);
  return number;
}

bool connection_table::heard(int descriptor, ticket shown) {
  auto* one = find(descriptor, shown);
  if (one == nullptr) give_back(shown);
  return one != nullptr && std::exchange(one->shown, shown) != shown;
}

void connection_table::joined(int descriptor, ticket shown) {
  if (const auto mine = held_.find(shown); mine != held_.end()) limit(shown, mine->second, std::nullopt);
  auto* one = find(descriptor, shown);
  if (one == nullptr) return;
  one->shown = shown;
  one->ever_a_peer = true;
  limit(descriptor, *one, std::nullopt);
}

void connection_table::left(int descriptor, ticket shown, time_point now) {
  leaves(descriptor, shown, now + bounds_.patience);
}

void connection_table::replaced(int descriptor, ticket shown, time_point now) {
  leaves(descriptor, shown, now + bounds_.last_words);
  const auto mine = held_.find(shown);
  if (mine == held_.end() || mine->second.replaced) return;
  const auto& key = mine->second.key;
  if (count_of(replaced_of_key_, key) >= bounds_.replaced_per_key) return;
  ++replaced_of_key_[key];
  count_down(of_key_, key);
  mine->second.replaced = true;
}

void connection_table::leaves(int descriptor, ticket shown, time_point until) {
  auto* one = find(descriptor, shown);
  if (one == nullptr) return give_back(shown);
  limit(descriptor, *one, until);
  if (const auto mine = held_.find(shown); mine != held_.end()) limit(shown, mine->second, until);
}

std::vector<connection_table::hang_up> connection_table::take_due(time_point now) {
  std::vector<hang_up> out;
  while (!due_.empty() && due_.begin()->first <= now) {
    const int descriptor = due_.begin()->second;
    const auto& one = connections_.at(descriptor);
    out.push_back({descriptor, one.inode, one.ever_a_peer});
    ended(descriptor);
  }
  return out;
}

std::optional<time_point> connection_table::next_deadline() const {
  return due_.empty() ? std::nullopt : std::optional(due_.begin()->first);
}

std::size_t connection_table::of_key(const std::string& key) const {
  return count_of(of_key_, key);
}

std::size_t connection_table::unheard_of(const std::string& address) const {
  return count_of(unheard_, address);
}

connection_table::connection* connection_table::find(int descriptor, ticket shown) {
  const auto found = connections_.find(descriptor);
  return found == connections_.end() || shown <= found->second.last_before ? nullptr : &found->second;
}

void connection_table::limit(int descriptor, connection& one, std::optional<time_point> until) {
  if (one.until) {
    due_.erase({*one.until, descriptor});
    count_down(unheard_, one.address);
  }
  one.until = until;
  if (until) {
    due_.emplace(*until, descriptor);
    ++unheard_[one.address];
  }
}

void connection_table::limit(ticket number, held& one, std::optional<time_point> until) {
  if (one.until) expiring_.erase({*one.until, number});
  one.until = until;
  if (until) expiring_.emplace(*until, number);
}

void connection_table::give_back(ticket number) {
  const auto found = held_.find(number);
  if (found == held_.end()) return;
  limit(number, found->second, std::nullopt);
  count_down(found->second.replaced ? replaced_of_key_ : of_key_, found->second.key);
  held_.erase(found);
}

void connection_table::expire_tickets(time_point now) {
  while (!expiring_.empty() && expiring_.begin()->first <= now) give_back(expiring_.begin()->second);
}

}  // namespace fxfarm::net
