#pragma once
// From a socket thread to an actor: one actor message for each batch.

#include "actors/messages.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>

#include <caf/send.hpp>

namespace fxfarm::actors {

// The socket may come to life before the actor that uses it; its thread then waits for `bind` or `unbind`.
template <class Handle>
class relay {
public:
  void bind(Handle target) {
    {
      std::lock_guard lock(mutex_);
      target_ = std::move(target);
    }
    bound_.notify_all();
  }
  void unbind() {
    // Whatever goes with the last reference goes outside of the lock: it may wait for the socket thread.
    Handle last;
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
      std::swap(last, target_);
    }
    bound_.notify_all();
  }
  // The sink to give to the socket; it keeps the relay alive.
  static net::inbound_sink sink(std::shared_ptr<relay> to) {
    return [to = std::move(to)](net::inbound_batch batch) {
      std::unique_lock lock(to->mutex_);
      to->bound_.wait(lock, [&] { return to->closed_ || to->target_; });
      if (to->closed_) return;
      caf::anon_send(to->target_, link_events{std::make_shared<const net::inbound_batch>(std::move(batch))});
    };
  }

private:
  std::mutex mutex_;  // guards what follows
  std::condition_variable bound_;
  Handle target_;
  bool closed_ = false;
};

}  // namespace fxfarm::actors
