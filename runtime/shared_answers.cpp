#include "runtime/shared_answers.hpp"

#include <algorithm>
#include <exception>
#include <iterator>

namespace fxfarm {

shared_answers::shared_answers(shared_answers_options options)
    : options_(std::move(options)), turns_(options_.per_second_max), turns_at_(options_.now()) {}

std::shared_ptr<const shared_answers::answer> shared_answers::get(const std::string& question, const asker& ask) {
  std::unique_lock lock(mutex_);
  const auto begun = options_.now();
  const auto known = entries_.find(question);
  const auto there = known == entries_.end() ? nullptr : known->second;
  if (there && there->told && begun < there->until) {
    options_.told("shared");
    return there->told;
  }
  if (there && !there->told) {
    if (joining_ >= options_.joining_max) return turn_away("many wait for this answer already");
    ++joining_;
    answered_.wait(lock, [&] { return there->told != nullptr; });
    --joining_;
    options_.told("shared");
    return there->told;
  }
  if (asking_ >= options_.asking_max) return turn_away("others wait for answers already");
  if (!take_turn(begun)) return turn_away("too many different things are asked for");
  make_room(begun);
  const auto mine = std::make_shared<entry>();
  entries_.insert_or_assign(question, mine);
  ++asking_;
  lock.unlock();
  options_.told("asked");
  std::shared_ptr<const answer> got;
  try {
    got = std::make_shared<const answer>(ask());
  } catch (const std::exception& e) {
    // Others wait for it.
    got = std::make_shared<const answer>(errc::internal, e.what());
  }
  lock.lock();
  --asking_;
  const auto now = options_.now();
  constexpr int share = 10;
  const auto kept = std::clamp<time_point::duration>((now - begun) * share, options_.kept_min, options_.kept_max);
  mine->told = got;
  mine->until = now + kept;
  lock.unlock();
  answered_.notify_all();
  return got;
}

void shared_answers::forget() {
  std::lock_guard lock(mutex_);
  // Those that are being asked for still reach whoever waits.
  entries_.clear();
}

bool shared_answers::take_turn(time_point now) {
  const auto passed = std::chrono::duration<double>(now - turns_at_).count();
  turns_ = std::min<double>(options_.per_second_max, turns_ + passed * options_.per_second_max);
  turns_at_ = now;
  if (turns_ < 1) return false;
  turns_ -= 1;
  return true;
}

void shared_answers::make_room(time_point now) {
  std::erase_if(entries_, [&](const auto& e) { return e.second->told && e.second->until <= now; });
  while (entries_.size() >= options_.answers_max) {
    // The one that ends first; one that is being asked for has no end yet.
    const auto first = std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
      return (a.second->told ? a.second->until : time_point::max()) <
             (b.second->told ? b.second->until : time_point::max());
    });
    entries_.erase(first);
  }
}

std::shared_ptr<const shared_answers::answer> shared_answers::turn_away(const char* why) const {
  options_.told("turned_away");
  return std::make_shared<const answer>(errc::busy, why);
}

}  // namespace fxfarm
