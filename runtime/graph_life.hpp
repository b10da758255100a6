#pragma once
// What has happened to one stage of a graph, in order and bounded: the record behind `fxfarm explain`. Plain values;
// the time is passed in.
//
// What clients do over and over (a thousand of them find the same artifact) is counted at one event, so that it neither
// costs memory nor pushes the compile out of the record.

#include "runtime/limits.hpp"
#include "runtime/time_point.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>

namespace fxfarm {

// `who` and `text` are those of life_event.
enum class life_step : std::uint8_t {
  hit,          // a lookup was answered from the tier `who`
  missed,       // no tier has the artifact
  refused,      // client `who` could not use the stored artifact: it is made again
  remembered,   // a lookup was answered with an earlier failure, `text`
  turned_away,  // a lookup came to no job: `text`
  joined,       // a lookup of client `who` joined the job in flight
  graph_asked,  // client `who` was asked for the graph
  queued,       // the job waits for a worker
  started,      // it was given to worker `who`, after `seconds` in the queue
  adopted,      // worker `who` brought it along from a coordinator that is gone
  compiled,     // by worker `who`, with `phases`, `seconds` in all
  retried,      // the attempt on worker `who` came to nothing: `text`; the job waits again
  answered,     // the artifact went to `count` clients
  failed,       // for good: `text`
  quarantined,  // for good, after as many attempts as there may be: `text`
  cancelled,    // nobody waited for it any longer
  forgotten,    // an operator had it forgotten
  switched,     // calls of client `who` run it, `seconds` after it was asked for
  load_failed,  // client `who` could not load it: `text`
  rolled_back,  // client `who` left it again: `text`
};
inline constexpr std::size_t life_steps = 20;
std::string_view to_string(life_step s);

struct life_event {
  life_step step;
  time_point first;  // when it happened
  time_point last;   // when it happened for the last time
  std::uint64_t count = 1;
  std::string who;                         // of the last time, like all that follows
  std::string text;                        // "code: reason"
  double seconds = 0;                      // what the step says
  std::map<std::string, double> phases{};  // of a compile, seconds
};

// What a step may say beside its name and time.
struct life_note {
  std::string_view who = {};
  std::string_view text = {};
  double seconds = 0;
  std::uint64_t count = 1;
  const std::map<std::string, double>* phases = nullptr;
};

class stage_life {
public:
  // Returns by how many bytes the record has grown; less than 0 when an older event had to go.
  std::ptrdiff_t add(life_step step, time_point now, const life_note& note = {});

  const std::deque<life_event>& events() const { return events_; }  // oldest first
  std::uint64_t dropped() const { return dropped_; }                // events that are no longer there
  std::size_t bytes() const { return bytes_; }                      // about what the events take
  // Null when it did not happen, or is no longer in the record.
  const life_event* last(life_step step) const;
  const life_event* first(life_step step) const;

private:
  life_event* countable(life_step step, std::string_view who);

  std::deque<life_event> events_;
  std::uint64_t dropped_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace fxfarm
