#pragma once
// What a socket's thread tells the actors, handed over a batch at a time. Private to net/.

#include "net/link.hpp"

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

namespace fxfarm::net {

class told {
public:
  told(inbound_sink sink, std::size_t batch_max) : sink_(std::move(sink)), batch_max_(batch_max) {}

  template <class Event>
  void tell(const peer_id& who, Event&& event, blob attachment = nullptr, std::string digest = {},
            bool over_quota = false) {
    // Made in its place: an event is costly to move.
    auto& in = batch_.emplace_back();
    in.peer = who;
    in.event.template emplace<std::decay_t<Event>>(std::forward<Event>(event));
    in.attachment = std::move(attachment);
    in.digest = std::move(digest);
    in.over_quota = over_quota;
    if (batch_.size() >= batch_max_) hand_over();
  }

  void hand_over() {
    if (batch_.empty()) return;
    // The next one is likely to be as large.
    const auto size = batch_.size();
    sink_(std::exchange(batch_, {}));
    batch_.reserve(size);
  }

private:
  inbound_sink sink_;
  std::size_t batch_max_;
  inbound_batch batch_;
};

}  // namespace fxfarm::net
