#pragma once
// From a thread that may outlive an actor, and its actor system, to that actor.

#include <mutex>
#include <utility>

#include <caf/send.hpp>

namespace fxfarm::actors {

// The actor's state owns it together with those who send, and closes it when it ends: what comes later is dropped.
template <class Handle>
class gate {
public:
  explicit gate(Handle target) : target_(std::move(target)) {}
  gate(const gate&) = delete;
  gate& operator=(const gate&) = delete;

  template <class Message>
  void send(Message what) {
    // Held while sending: an actor that is still open keeps its system, so neither goes away under us.
    std::lock_guard lock(mutex_);
    if (target_) caf::anon_send(target_, std::move(what));
  }
  void close() {
    std::lock_guard lock(mutex_);
    target_ = nullptr;
  }

private:
  std::mutex mutex_;
  Handle target_;
};

}  // namespace fxfarm::actors
