#include "runtime/chore.hpp"

#include <utility>

namespace fxfarm {

chore::chore(std::chrono::milliseconds period, std::function<void()> work)
    : thread_([this, period, work = std::move(work)] {
        std::unique_lock lock(mutex_);
        while (!changed_.wait_for(lock, period, [this] { return over_; })) {
          lock.unlock();
          work();
          lock.lock();
        }
      }) {}

chore::~chore() {
  {
    std::lock_guard guard(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

}  // namespace fxfarm
