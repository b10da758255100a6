#pragma once
// Commands for a key, sent to the server that has it: the one server, the master that Sentinels name, or the node of a
// cluster. Connects when it has to and again when it was cut off. Not thread-safe.

#include "runtime/redis_connection.hpp"
#include "runtime/redis_url.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fxfarm {

// Who carries commands out.
class redis_port {
public:
  using time_point = std::chrono::steady_clock::time_point;

  virtual ~redis_port() = default;
  // All commands concern the slot of `key`, and may be repeated without harm. One answer each, none of them a failure.
  // Errors: `unreachable` and `timeout` when Redis is down, not ready or too slow; `protocol`; `refused` when it does
  // not let us in or has not the right to do it; `busy` when it has no room.
  virtual result<std::vector<redis_reply>> run(const std::string& key, const std::vector<redis_command>& commands,
                                               time_point until) = 0;
};

struct redis_client_options {
  redis_target target;
  std::shared_ptr<const redis_tls> tls;  // null: not encrypted
  std::chrono::milliseconds timeout{0};  // of connecting and of each run, if `until` is not earlier
};

class redis_client final : public redis_port {
public:
  explicit redis_client(redis_client_options options);

  result<std::vector<redis_reply>> run(const std::string& key, const std::vector<redis_command>& commands,
                                       time_point until) override;

private:
  struct link {
    redis_connection* connection = nullptr;
    bool fresh = false;  // opened for this call
  };

  result<void> ask_elsewhere(const std::vector<redis_command>& commands, std::vector<redis_reply>& got,
                             const redis_address& node, time_point until);
  // As many answers as commands; some may be failures.
  result<std::vector<redis_reply>> run_at(const redis_address& node, const std::vector<redis_command>& commands,
                                          time_point until);
  result<link> link_to(const redis_address& node, time_point until);
  result<void> greet(redis_connection& connection, time_point until) const;
  result<redis_address> route(const std::string& key, time_point until);
  result<redis_address> ask_sentinels(time_point until);
  result<void> learn_slots(time_point until);
  // What is known of that node may be wrong.
  void forget(const redis_address& node);

  const redis_client_options options_;
  std::map<redis_address, std::unique_ptr<redis_connection>> connections_;
  std::optional<redis_address> master_;                                     // as the Sentinels said
  std::map<std::uint16_t, std::pair<std::uint16_t, redis_address>> slots_;  // last slot of a range -> first, node
};

}  // namespace fxfarm
