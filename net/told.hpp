#pragma once
// What a socket's thread tells the actors, handed over a batch at a time. Private to net/.

#include "net/backlog.hpp"
#include "net/link.hpp"
#include "runtime/limits.hpp"

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

namespace fxfarm::net {

class told {
public:
  told(inbound_sink sink, std::size_t batch_max, std::size_t bytes_max = limits::inbound_bytes_max)
      : sink_(std::move(sink)), batch_max_(batch_max), unheard_(bytes_max) {}

  // A message of so many bytes has come; what is told next is of it, if anything is.
  void came(std::size_t bytes) { frame_ = bytes; }
  // Whether no more is to be read until the descriptor says so, since the actors have not looked at what there is.
  bool is_full() { return unheard_.is_full(bytes_); }
  int room_fd() const { return unheard_.fd(); }
  void take_wake() { unheard_.take_wake(); }

  template <class Event>
  void tell(const peer_id& who, Event&& event, blob attachment = nullptr, std::string digest = {},
            bool over_quota = false) {
    // Made in its place: an event is costly to move.
    auto& in = batch_.emplace_back();
    // An attachment that came in pieces was in none of the messages that told of something.
    bytes_ += std::exchange(frame_, 0) + (attachment ? attachment->size() : 0);
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
    batch_.counted = unheard_.hold(std::exchange(bytes_, 0) + size * sizeof(inbound));
    sink_(std::exchange(batch_, {}));
    batch_.reserve(size);
  }

private:
  inbound_sink sink_;
  std::size_t batch_max_;
  inbound_batch batch_;
  std::size_t bytes_ = 0;  // of it
  std::size_t frame_ = 0;  // of what has come and told nothing yet
  backlog unheard_;
};

}  // namespace fxfarm::net
