#pragma once
// Which stage of one graph to load next: the best that is ready wins, worse ones still pending are released. The one
// step back is from a stage that turned out slower. A plain class; the output actor drives it.

#include <cstddef>
#include <optional>
#include <vector>

namespace fxfarm {

class stage_plan {
public:
  enum class state { waiting, ready, loading, loaded, failed, superseded, rolled_back };

  // `count` stages, worst to best.
  explicit stage_plan(std::size_t count) : states_(count, state::waiting) {}

  std::size_t size() const { return states_.size(); }
  state at(std::size_t stage) const { return states_.at(stage); }

  // The artifact of `stage` is here. False when nobody wants it any longer (superseded, failed, or here already).
  bool mark_ready(std::size_t stage);
  // The stage will never come. False when that no longer matters.
  bool mark_failed(std::size_t stage);

  // The stage to load now, which is thereby `loading`: the best one that is ready and better than what is loaded. One
  // at a time, so that loads do not compete for the interpreter.
  std::optional<std::size_t> take_next();

  // The load of the `loading` stage ended well. Returns the stages that became useless: all worse ones not yet settled.
  std::vector<std::size_t> mark_loaded(std::size_t stage);
  // The load failed; `again` sends the stage back to waiting for another artifact.
  void mark_load_failed(std::size_t stage, bool again);

  // Calls went back from `stage` to what they ran before. False when it is not the current one.
  bool mark_rolled_back(std::size_t stage);

  // The best stage loaded so far and not rolled back; none: eager.
  std::optional<std::size_t> current() const { return current_; }
  // Whether nothing will change any more.
  bool settled() const;

private:
  bool pending(std::size_t stage) const;

  std::vector<state> states_;
  std::optional<std::size_t> current_;
};

}  // namespace fxfarm
