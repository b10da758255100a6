#pragma once
// Waiting for the order to stop.

#include "runtime/error.hpp"

#include <memory>
#include <mutex>
#include <string>

namespace fxfarm::cli {

// Takes SIGTERM and SIGINT over, so that they are read by whoever waits and interrupt nobody. Make it before any thread
// starts, since threads inherit the mask; a process that is started must clear the mask it inherits. The signals get
// back their usual meaning when this goes.
class stop_order {
public:
  static result<std::unique_ptr<stop_order>> take_over();
  ~stop_order();
  stop_order(const stop_order&) = delete;
  stop_order& operator=(const stop_order&) = delete;

  // Blocks until a signal or a request came; tells which: "SIGTERM", "SIGINT", or the reason given. Later calls tell
  // the same at once.
  std::string wait();

  // The same order from inside the process, such as a local farm that has been idle. Any thread, at any time.
  void request(std::string reason);

private:
  stop_order(int signals, int requests) : signals_(signals), requests_(requests) {}

  const int signals_;   // signalfd
  const int requests_;  // eventfd
  std::mutex mutex_;
  std::string reason_;  // the first that came
};

}  // namespace fxfarm::cli
