#include "runtime/lookup_window.hpp"

#include <algorithm>

namespace fxfarm {

void lookup_window::add(graph which) {
  if (waiting_.insert(which).second) line_.push_back(which);
}

std::vector<lookup_window::graph> lookup_window::take(time_point now) {
  std::erase_if(unanswered_, [&](const auto& one) { return one.second.until <= now; });
  std::erase_if(answered_, [&](const auto& one) { return one.second <= now; });
  std::vector<graph> out;
  while (!line_.empty() && unanswered_.size() < size()) {
    const auto which = line_.front();
    line_.pop_front();
    if (waiting_.erase(which) == 0) continue;
    forget_answer(which);
    unanswered_[which] = {now + limits::lookup_answer_max};
    out.push_back(which);
  }
  return out;
}

void lookup_window::answered(graph which) {
  const auto found = unanswered_.find(which);
  if (found == unanswered_.end()) return;
  const auto asked = found->second;
  unanswered_.erase(found);
  if (asked.turned_away) return;  // the window was halved for it
  size_ = std::min(size_max, size_ + 1 / size_);
  if (answered_.size() >= static_cast<std::size_t>(size_max)) answered_.pop_front();
  answered_.emplace_back(which, asked.until);
}

bool lookup_window::forget_answer(graph which) {
  return std::erase_if(answered_, [&](const auto& one) { return one.first == which; }) > 0;
}

void lookup_window::turned_away(graph which) {
  const auto found = unanswered_.find(which);
  if (found == unanswered_.end()) {
    if (!forget_answer(which)) return;
  } else if (std::exchange(found->second.turned_away, true)) {
    return;
  }
  size_ = std::max(size_min, size_ / 2);
}

void lookup_window::forget(graph which) {
  waiting_.erase(which);
  unanswered_.erase(which);
  forget_answer(which);
}

std::optional<time_point> lookup_window::next() const {
  if (waiting_.empty() || unanswered_.empty()) return std::nullopt;
  const auto first = std::min_element(unanswered_.begin(), unanswered_.end(),
                                      [](const auto& a, const auto& b) { return a.second.until < b.second.until; });
  return first->second.until;
}

}  // namespace fxfarm
