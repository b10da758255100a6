// What is written down of a graph's life, where it takes more than a line.

#include "actors/coordinator_core.hpp"

namespace fxfarm::actors {
namespace {

life_step step_of(const job_setback& setback) {
  if (setback.retried) return life_step::retried;
  if (setback.why.code == errc::quarantined) return life_step::quarantined;
  return setback.why.code == errc::cancelled ? life_step::cancelled : life_step::failed;
}

life_step step_of(const net::switched& m) {
  if (m.error.empty()) return life_step::switched;
  return m.error == to_string(errc::slower) ? life_step::rolled_back : life_step::load_failed;
}

}  // namespace

const std::string& coordinator_core::name_of(const net::peer_id& id) const {
  auto it = peers_.find(id);
  return it == peers_.end() ? id : it->second.who.id;
}

void coordinator_core::note_switch(const net::peer_id& from, const net::switched& m, time_point now) {
  book_.note(m.graph_key, m.stage_key, step_of(m), now,
             {.who = name_of(from), .text = m.error, .seconds = m.request_to_switch_seconds});
}

void coordinator_core::note_setback(const job_setback& setback, time_point now) {
  book_.note(setback.graph_key, setback.stage_key, step_of(setback), now,
             {.who = name_of(setback.worker), .text = to_string(setback.why)});
}

}  // namespace fxfarm::actors
