#pragma once
// The tier that coordinators share, at arm's length: whoever uses it never waits for Redis. Lookups are answered from a
// thread of its own, writes are queued for another one, and a circuit breaker leaves Redis alone while it is slow or
// down.

#include "runtime/circuit_breaker.hpp"
#include "runtime/redis_store.hpp"
#include "runtime/store.hpp"
#include "runtime/write_queue.hpp"

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>

namespace fxfarm {

struct shared_tier_options {
  std::uint64_t queue_bytes_max = 0;
  std::size_t queue_entries_max = 0;
  std::chrono::milliseconds read_max{0};  // one lookup, waiting in line included
  std::chrono::milliseconds slow{0};      // an operation that takes longer, its bytes aside, counts as a failure
  breaker_options breaker;
  std::shared_ptr<const signature_check> signatures = {};  // null: whatever Redis has is taken
  bool only_reads = false;                                 // what is not trusted stays where it is: others may trust it
};

// What a shared tier tells beside what every tier does. Called on any thread; must not throw or use the tier.
struct shared_tier_events {
  std::function<void(breaker_state state, const error& why)> breaker = [](breaker_state, const error&) {};
  std::function<void(std::uint64_t bytes, std::size_t entries)> queue = [](std::uint64_t, std::size_t) {};
  std::function<void()> written = [] {};
  // "full", "too_large", "refused", "failed" or "shutdown"
  std::function<void(std::string_view reason)> dropped = [](std::string_view) {};
  // "get", "put", "remove" or "ping"
  std::function<void(std::string_view operation, double seconds)> took = [](std::string_view, double) {};
};

class shared_tier {
public:
  using time_point = circuit_breaker::time_point;
  using answer = std::function<void(std::optional<stored> found)>;
  static constexpr std::string_view name = "redis";

  // Two stores, since each belongs to one thread.
  shared_tier(std::unique_ptr<redis_store> reader, std::unique_ptr<redis_store> writer, shared_tier_options options,
              std::shared_ptr<const store_reporter> reporter, shared_tier_events events);
  ~shared_tier();
  shared_tier(const shared_tier&) = delete;
  shared_tier& operator=(const shared_tier&) = delete;

  // Calls `then` once: at once on this thread when Redis need not be asked or must not be, otherwise on the reader's. A
  // failure has been reported and is a miss.
  void get(const std::string& key, answer then);
  // What is written, or removed, some time later, in this order for each key. What nobody who is accepted has signed
  // would be of no use to others, and is not written.
  void put(const std::string& key, std::shared_ptr<const stored> what);
  void remove(const std::string& key);

  // Waits until nothing is queued any more, Redis is left alone, or the time has come. Whether nothing is queued.
  bool flush(time_point until);
  // Ends the threads within the deadline of what they are doing. Lookups that wait are misses; what is still queued is
  // dropped. Must not be called by `then` or an event.
  void stop();

private:
  struct question {
    std::string key;
    time_point until;
    answer then;
  };

  void enqueue(const std::string& key, std::shared_ptr<const stored> what);
  void read();
  std::optional<stored> look_up(const question& q);
  // Reports, and has Redis forget, what nobody who is accepted has signed.
  bool is_trusted(const std::string& key, const stored& what);
  void write();
  void write_one(const write_queue::entry& e);
  void probe();
  // Tells the breaker how an operation went. `bytes`: what it carried.
  void settle(std::string_view operation, time_point begun, std::uint64_t bytes, const result<void>& outcome);
  void finish(const write_queue::entry& e);
  // What is so now: told in order, whichever threads have changed it.
  void tell_queue();
  void tell_breaker(const error& why);
  double jitter() { return std::uniform_real_distribution<double>(0, 1)(random_); }

  const std::unique_ptr<redis_store> reader_;  // of the reader's thread
  const std::unique_ptr<redis_store> writer_;  // of the writer's thread
  const shared_tier_options options_;
  const std::shared_ptr<const store_reporter> reporter_;
  const shared_tier_events events_;

  std::mutex telling_;  // taken before the other
  std::mutex mutex_;    // guards what follows
  std::condition_variable changed_;
  circuit_breaker breaker_;
  write_queue queue_;
  std::deque<question> questions_;
  std::minstd_rand random_{std::random_device{}()};
  bool stopping_ = false;

  std::thread reading_;
  std::thread writing_;
};

std::string_view to_string(breaker_state state);

}  // namespace fxfarm
