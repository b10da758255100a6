#pragma once
// What each client's key takes of a coordinator, so that none can take all of it. An account is a key or, where keys
// are off, one connection. A plain class: the time is passed in.

#include "runtime/limits.hpp"
#include "runtime/text_map.hpp"
#include "runtime/time_point.hpp"
#include "runtime/token_bucket.hpp"

#include <cstdint>
#include <string>

namespace fxfarm {

struct account_limits {
  std::uint64_t graph_bytes = limits::graph_bytes_per_key;
  unsigned lookups_per_second = limits::lookups_per_key;
};

class account_book {
public:
  explicit account_book(account_limits bounds = {}) : bounds_(bounds) {}

  // A connection of the account comes and goes; what is counted for it outlives the last one, see forget_idle.
  void join(const std::string& account, time_point now);
  void leave(const std::string& account);

  // Counts a lookup; false when the second's are used up. What was not used of the last second is left for this one.
  bool take_lookup(const std::string& account, time_point now);
  // Counts the bytes of a graph until they are let go; false when it would have too many.
  bool hold(const std::string& account, std::uint64_t bytes);
  void let_go(const std::string& account, std::uint64_t bytes);

  // Forgets the accounts that have no connection, no graph, and all of a second's lookups again.
  void forget_idle(time_point now);

  std::uint64_t held() const;
  std::size_t size() const { return accounts_.size(); }

private:
  struct entry {
    entry(double lookups_per_second, time_point now) : lookups(lookups_per_second, now) {}
    std::size_t connections = 0;
    std::size_t graphs = 0;
    std::uint64_t bytes = 0;  // of these
    token_bucket lookups;
  };

  account_limits bounds_;
  text_map<entry> accounts_;
};

}  // namespace fxfarm
