#include "runtime/graph_life.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

constexpr std::array<std::string_view, life_steps> names{
    "hit",         "missed",    "refused",   "remembered", "turned_away", "joined",     "graph_asked",
    "queued",      "started",   "adopted",   "compiled",   "retried",     "answered",   "failed",
    "quarantined", "cancelled", "forgotten", "switched",   "load_failed", "rolled_back"};

// Done by any number of clients without that the stage itself moves on.
bool is_counted(life_step step) {
  switch (step) {
    case life_step::hit:
    case life_step::remembered:
    case life_step::turned_away:
    case life_step::joined:
    case life_step::switched:
    case life_step::load_failed:
    case life_step::rolled_back:
      return true;
    default:
      return false;
  }
}

std::size_t bytes_of(const life_event& e) {
  // A node of the map is its pair and about four words.
  constexpr std::size_t node_bytes = sizeof(std::pair<std::string, double>) + 4 * sizeof(void*);
  std::size_t bytes = sizeof e + e.who.size() + e.text.size() + e.phases.size() * node_bytes;
  for (const auto& [phase, seconds] : e.phases) bytes += phase.size();
  return bytes;
}

}  // namespace

std::string_view to_string(life_step s) {
  return names.at(static_cast<std::size_t>(s));
}

std::ptrdiff_t stage_life::add(life_step step, time_point now, const life_note& note) {
  const auto before = static_cast<std::ptrdiff_t>(bytes_);
  const auto text = note.text.substr(0, limits::life_text_bytes_max);
  if (auto* known = countable(step, note.who)) {
    bytes_ -= known->who.size() + known->text.size();
    known->last = now;
    known->count += note.count;
    known->who = note.who;
    known->text = text;
    known->seconds = note.seconds;
    bytes_ += known->who.size() + known->text.size();
    return static_cast<std::ptrdiff_t>(bytes_) - before;
  }
  if (events_.size() >= limits::life_events_max) {
    bytes_ -= bytes_of(events_.front());
    events_.pop_front();
    ++dropped_;
  }
  auto& e = events_.emplace_back(
      life_event{step, now, now, note.count, std::string(note.who), std::string(text), note.seconds});
  if (note.phases != nullptr) {
    for (const auto& phase : *note.phases) {
      if (e.phases.size() >= limits::life_phases_max) break;
      e.phases.insert(phase);
    }
  }
  bytes_ += bytes_of(e);
  return static_cast<std::ptrdiff_t>(bytes_) - before;
}

// The same among what clients have done since the stage last moved on; hits of different tiers are told apart.
life_event* stage_life::countable(life_step step, std::string_view who) {
  if (!is_counted(step)) return nullptr;
  for (auto e = events_.rbegin(); e != events_.rend() && is_counted(e->step); ++e) {
    if (e->step == step && (step != life_step::hit || e->who == who)) return &*e;
  }
  return nullptr;
}

const life_event* stage_life::last(life_step step) const {
  auto found = std::find_if(events_.rbegin(), events_.rend(), [&](const life_event& e) { return e.step == step; });
  return found == events_.rend() ? nullptr : &*found;
}

const life_event* stage_life::first(life_step step) const {
  auto found = std::find_if(events_.begin(), events_.end(), [&](const life_event& e) { return e.step == step; });
  return found == events_.end() ? nullptr : &*found;
}

}  // namespace fxfarm
