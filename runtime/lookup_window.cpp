#include "runtime/lookup_window.hpp"

#include <algorithm>

namespace fxfarm {

void lookup_window::add(graph which) {
  if (waiting_.insert(which).second) line_.push_back(which);
}

std::vector<lookup_window::graph> lookup_window::take(time_point now) {
  std::erase_if(unanswered_, [&](const auto& one) { return one.second.until <= now; });
  std::vector<graph> out;
  while (!line_.empty() && unanswered_.size() < size()) {
    const auto which = line_.front();
    line_.pop_front();
    if (waiting_.erase(which) == 0) continue;
    unanswered_[which] = {now + limits::lookup_answer_max};
    out.push_back(which);
  }
  return out;
}

void lookup_window::answered(graph which) {
  if (unanswered_.erase(which) > 0) size_ = std::min(size_max, size_ + 1 / size_);
}

void lookup_window::turned_away(graph which) {
  const auto found = unanswered_.find(which);
  if (found == unanswered_.end() || found->second.turned_away) return;
  found->second.turned_away = true;
  size_ = std::max(size_min, size_ / 2);
}

void lookup_window::forget(graph which) {
  waiting_.erase(which);
  unanswered_.erase(which);
}

std::optional<time_point> lookup_window::next() const {
  if (waiting_.empty() || unanswered_.empty()) return std::nullopt;
  const auto first = std::min_element(unanswered_.begin(), unanswered_.end(),
                                      [](const auto& a, const auto& b) { return a.second.until < b.second.until; });
  return first->second.until;
}

}  // namespace fxfarm
