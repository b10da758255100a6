#pragma once
// Something to be done again and again, on a thread of its own, for as long as the object lives.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace fxfarm {

class chore {
public:
  // `work` is called when `period` has passed, and again so long after each end. It must not throw. Errors of the
  // system, which has no thread: std::system_error.
  chore(std::chrono::milliseconds period, std::function<void()> work);
  // Waits for the end of a call that is under way.
  ~chore();
  chore(const chore&) = delete;
  chore& operator=(const chore&) = delete;

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace fxfarm
