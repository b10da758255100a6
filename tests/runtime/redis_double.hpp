#pragma once
// What a redis_store needs of a server, in memory.

#include "runtime/redis_store.hpp"

#include <functional>
#include <map>
#include <mutex>

namespace fxfarm {

// Shared by several ports, as a server is by its connections.
struct redis_double {
  std::mutex mutex;  // guards what follows
  std::map<std::string, std::string> values;
  std::map<std::string, std::string> ttl_ms;
  std::vector<std::string> commands;  // names, in order
  // Comes before each command, without the lock; its failure is the command's.
  using interceptor = std::function<result<void>(const redis_command&)>;
  interceptor before;

  void answer(interceptor how) {
    std::lock_guard lock(mutex);
    before = std::move(how);
  }
  std::size_t size() {
    std::lock_guard lock(mutex);
    return values.size();
  }
  std::unique_ptr<redis_port> port();
  redis_store store(std::uint64_t value_bytes_max = std::uint64_t{1} << 30) {
    return {port(), {"farm", std::chrono::minutes(5), value_bytes_max}};
  }
  std::unique_ptr<redis_store> owned_store(std::uint64_t value_bytes_max) {
    return std::make_unique<redis_store>(port(), redis_store_options{"farm", std::chrono::minutes(5), value_bytes_max});
  }

  result<void> intercept(const redis_command& c) {
    std::unique_lock lock(mutex);
    const auto how = before;
    lock.unlock();
    return how ? how(c) : result<void>();
  }

  redis_reply carry_out(const redis_command& c) {
    commands.push_back(c[0]);
    redis_reply reply;
    if (c[0] == "GET") {
      if (auto it = values.find(c[1]); it != values.end()) reply = {redis_reply::kind::text, it->second, 0, {}};
    } else if (c[0] == "SET") {
      values[c[1]] = c[2];
      ttl_ms[c[1]] = c[4];
      reply = {redis_reply::kind::text, "OK", 0, {}};
    } else if (c[0] == "PEXPIRE") {
      if (values.contains(c[1])) ttl_ms[c[1]] = c[2];
      reply.is = redis_reply::kind::number;
    } else if (c[0] == "DEL") {
      for (std::size_t i = 1; i < c.size(); ++i) values.erase(c[i]);
      reply.is = redis_reply::kind::number;
    }
    return reply;
  }
};

inline std::unique_ptr<redis_port> redis_double::port() {
  struct connected final : redis_port {
    redis_double* server = nullptr;

    result<std::vector<redis_reply>> run(const std::string&, const std::vector<redis_command>& commands,
                                         time_point) override {
      std::vector<redis_reply> replies;
      for (const auto& c : commands) {
        if (auto let = server->intercept(c); !let) return let.failure();
        std::lock_guard lock(server->mutex);
        replies.push_back(server->carry_out(c));
      }
      return replies;
    }
  };
  auto made = std::make_unique<connected>();
  made->server = this;
  return made;
}

}  // namespace fxfarm
