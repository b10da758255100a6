#pragma once
// How many connections and messages each key has of a coordinator, so that none can have all. An account is a key or,
// where keys are off, one connection. A plain class: the time is passed in.

#include "runtime/limits.hpp"
#include "runtime/text_map.hpp"
#include "runtime/time_point.hpp"
#include "runtime/token_bucket.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace fxfarm {

struct peer_limits {
  unsigned messages_per_second = limits::messages_per_key;
  std::size_t connections = limits::connections_per_key;
};

class peer_quotas {
public:
  enum class share : std::uint8_t {
    within,
    over,      // to be answered with `busy`, or not to be listened to
    far_over,  // as many again are over within a second: not to be read
  };

  class account {
  public:
    account(double per_second, time_point now) : messages_(per_second, now), over_(per_second, now) {}

  private:
    friend peer_quotas;
    std::size_t connections_ = 0;
    token_bucket messages_;
    token_bucket over_;
  };

  explicit peer_quotas(peer_limits bounds = {}) : bounds_(bounds) {}

  // Stays where it is while it has connections, and else until the next call for an account that is not known.
  account& of(const std::string& name, time_point now);

  // Counts a message.
  share take(account& mine, time_point now) const;

  // What a peer may say while its key is far over: so who floods is hung up on, and not whoever else has the key. At
  // once it may say what an honest one does until it hears that it is to come later, however little its key has.
  token_bucket peers_own(time_point now) const { return {own_at_once(), now}; }
  bool take_own(token_bucket& own, time_point now) const { return own.take(own_per_second(), own_at_once(), now); }

  // Counts a connection; false when the account has as many as it may.
  bool join(account& mine) const;
  void leave(account& mine) const { --mine.connections_; }

  const peer_limits& bounds() const { return bounds_; }
  std::size_t size() const { return accounts_.size(); }

private:
  double own_per_second() const {
    return std::max(1.0, static_cast<double>(bounds_.messages_per_second) / limits::messages_part_of_peer);
  }
  double own_at_once() const { return std::max<double>(own_per_second(), limits::messages_at_once_of_peer); }
  void forget_idle(time_point now);

  peer_limits bounds_;
  text_map<account> accounts_;
  std::size_t forget_at_ = 0;  // so many accounts
};

}  // namespace fxfarm
