#pragma once
// From a socket thread to an actor: one actor message for each batch.

#include "actors/messages.hpp"

#include <memory>
#include <mutex>

#include <caf/send.hpp>

namespace fxfarm::actors {

// The socket may come to life before the actor that uses it; what arrives until `bind` is kept.
template <class Handle>
class relay {
public:
  void bind(Handle target) {
    std::lock_guard lock(mutex_);
    target_ = std::move(target);
    for (auto& batch : early_) pass(std::move(batch));
    early_.clear();
  }
  void unbind() {
    // Whatever goes with the last reference goes outside of the lock: it may wait for the socket thread.
    Handle last;
    std::lock_guard lock(mutex_);
    closed_ = true;
    std::swap(last, target_);
    early_.clear();
  }
  // The sink to give to the socket; it keeps the relay alive.
  static net::inbound_sink sink(std::shared_ptr<relay> to) {
    return [to = std::move(to)](net::inbound_batch batch) {
      std::lock_guard lock(to->mutex_);
      if (to->closed_) return;
      if (to->target_) {
        to->pass(std::move(batch));
      } else {
        to->early_.push_back(std::move(batch));
      }
    };
  }

private:
  void pass(net::inbound_batch batch) {
    caf::anon_send(target_, link_events{std::make_shared<const net::inbound_batch>(std::move(batch))});
  }

  std::mutex mutex_;
  Handle target_;
  bool closed_ = false;
  std::vector<net::inbound_batch> early_;
};

}  // namespace fxfarm::actors
