#pragma once
// Answers that everybody who asks the same within a moment shares: however many look at a page, what it shows is asked
// for about once a second. Time is passed in; threads wait here for each other.

#include "runtime/error.hpp"
#include "runtime/limits.hpp"
#include "runtime/time_point.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace fxfarm {

struct shared_answers_options {
  // An answer is kept ten times as long as it took to get, within these: so asking takes about a tenth of the time of
  // whoever is asked, at most.
  std::chrono::milliseconds kept_min = limits::page_answer_kept_min;
  std::chrono::milliseconds kept_max = limits::page_answer_kept_max;
  std::size_t answers_max = limits::page_answers_kept_max;
  // Threads, apart from each other: who asks the same as others needs no turn of theirs. More are turned away.
  unsigned asking_max = limits::page_asking_max;
  unsigned joining_max = limits::page_joining_max;
  unsigned per_second_max = limits::page_questions_per_second_max;
  std::function<time_point()> now = [] { return std::chrono::steady_clock::now(); };
  // "asked", "shared" or "turned_away"; any thread.
  std::function<void(std::string_view outcome)> told = [](std::string_view) {};
};

// Thread-safe.
class shared_answers {
public:
  using answer = result<std::string>;
  using asker = std::function<answer()>;

  explicit shared_answers(shared_answers_options options = {});

  // What `ask` answered to that question a moment ago, or answers now; failures are shared, too. `ask` runs on this
  // thread and must come to an end by itself. Errors of our own: busy.
  std::shared_ptr<const answer> get(const std::string& question, const asker& ask);
  // What is asked from now on is asked anew.
  void forget();

private:
  struct entry {
    std::shared_ptr<const answer> told;  // null while it is asked for
    time_point until;                    // it is kept
  };

  bool take_turn(time_point now);
  void make_room(time_point now);
  std::shared_ptr<const answer> turn_away(const char* why) const;

  const shared_answers_options options_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable answered_;
  std::map<std::string, std::shared_ptr<entry>> entries_;
  unsigned asking_ = 0;
  unsigned joining_ = 0;
  double turns_;         // questions that may be asked at once
  time_point turns_at_;  // when these were counted
};

}  // namespace fxfarm
