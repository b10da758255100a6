#include "runtime/stage_plan.hpp"

#include <algorithm>
#include <cassert>

namespace fxfarm {

bool stage_plan::pending(std::size_t stage) const {
  return states_[stage] == state::waiting || states_[stage] == state::ready;
}

bool stage_plan::mark_ready(std::size_t stage) {
  if (states_.at(stage) != state::waiting) return false;
  states_[stage] = state::ready;
  return true;
}

bool stage_plan::mark_failed(std::size_t stage) {
  if (states_.at(stage) != state::waiting) return false;
  states_[stage] = state::failed;
  return true;
}

std::optional<std::size_t> stage_plan::take_next() {
  if (std::find(states_.begin(), states_.end(), state::loading) != states_.end()) return std::nullopt;
  for (std::size_t stage = states_.size(); stage-- > 0;) {
    if (current_ && stage <= *current_) break;
    if (states_[stage] != state::ready) continue;
    states_[stage] = state::loading;
    return stage;
  }
  return std::nullopt;
}

std::vector<std::size_t> stage_plan::mark_loaded(std::size_t stage) {
  assert(states_.at(stage) == state::loading);
  states_[stage] = state::loaded;
  current_ = stage;
  std::vector<std::size_t> useless;
  for (std::size_t worse = 0; worse < stage; ++worse) {
    if (!pending(worse)) continue;
    states_[worse] = state::superseded;
    useless.push_back(worse);
  }
  return useless;
}

void stage_plan::mark_load_failed(std::size_t stage, bool again) {
  assert(states_.at(stage) == state::loading);
  states_[stage] = again ? state::waiting : state::failed;
}

bool stage_plan::mark_rolled_back(std::size_t stage) {
  if (current_ != stage) return false;
  states_[stage] = state::rolled_back;
  current_.reset();
  for (std::size_t worse = stage; worse-- > 0 && !current_;) {
    if (states_[worse] == state::loaded) current_ = worse;
  }
  return true;
}

bool stage_plan::settled() const {
  return std::none_of(states_.begin(), states_.end(),
                      [](state s) { return s == state::waiting || s == state::ready || s == state::loading; });
}

}  // namespace fxfarm
