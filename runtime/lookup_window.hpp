#pragma once
// Which of its open graphs a client asks a farm for now, and which wait until it has heard of others. So a thousand
// clients that find their farm again, each with a thousand open graphs, ask as fast as the farm answers; and slower
// when it says that it is busy: the window is halved for each question that is answered so, and grows by one when as
// many as it holds have been answered well. (TCP, RFC 5681, halves once for all that it loses of one window; here a few
// such answers are enough for the least.) The farm answers for each stage of a graph, and may say that it is busy for
// one after it has said something else of another: so a question that was answered is remembered for as long as it
// would have waited. A plain class: the time is passed in.

#include "runtime/limits.hpp"
#include "runtime/time_point.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace fxfarm {

class lookup_window {
public:
  using graph = std::uint64_t;

  // The graph is to be asked for. One that waits already keeps its place.
  void add(graph which);
  // Those that are to be asked for now, first come, first served.
  std::vector<graph> take(time_point now);
  // The farm has said something of a stage of the graph.
  void answered(graph which);
  // It has said that it is busy: a graph that still has its room in the window keeps it for as long as it would without
  // an answer.
  void turned_away(graph which);
  // The graph is not of interest any longer.
  void forget(graph which);

  // When take() has something although nothing is heard meanwhile; none: not without a call of another function.
  std::optional<time_point> next() const;
  std::size_t size() const { return static_cast<std::size_t>(size_); }

private:
  static constexpr double size_max = limits::lookups_unanswered_max;
  static constexpr double size_min = size_max / 8;

  struct question {
    time_point until;  // when it keeps nobody back any longer
    bool turned_away = false;
  };

  bool forget_answer(graph which);  // false: there is none

  double size_ = size_max;
  std::deque<graph> line_;
  std::set<graph> waiting_;               // the same, less those that were forgotten
  std::map<graph, question> unanswered_;  // no more than size_max
  // Those that were answered, and until when they would have waited: the last size_max. They have no room.
  std::deque<std::pair<graph, time_point>> answered_;
};

}  // namespace fxfarm
