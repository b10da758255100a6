#include "runtime/failure_book.hpp"

#include <utility>

namespace fxfarm {

void failure_book::remember(const std::string& stage_key, error why, time_point now) {
  auto [it, fresh] = failures_.try_emplace(stage_key);
  if (fresh) it->second.place = order_.insert(order_.end(), stage_key);
  it->second.why = std::move(why);
  it->second.until = now + memory_;
  while (failures_.size() > entries_max_) forgive(std::string(order_.front()));
}

bool failure_book::forgive(const std::string& stage_key) {
  auto it = failures_.find(stage_key);
  if (it == failures_.end()) return false;
  order_.erase(it->second.place);
  failures_.erase(it);
  return true;
}

const error* failure_book::find(const std::string& stage_key, time_point now) const {
  auto it = failures_.find(stage_key);
  return it == failures_.end() || now >= it->second.until ? nullptr : &it->second.why;
}

std::optional<time_point> failure_book::until(const std::string& stage_key) const {
  auto it = failures_.find(stage_key);
  return it == failures_.end() ? std::nullopt : std::optional(it->second.until);
}

std::string failure_book::inconsistency() const {
  return failures_.size() == order_.size() ? "" : "failures are not those in order";
}

}  // namespace fxfarm
