#pragma once
// Asks the system for the addresses behind endpoints' names, on a thread of its own, for as long as it lives.

#include "runtime/error.hpp"
#include "runtime/limits.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace fxfarm::net {

// "farm:7070" -> {"tcp://10.0.0.1:7070", "tcp://[fd00::1]:7070"}. Blocks.
using name_lookup = std::function<result<std::vector<std::string>>(const std::string& name)>;
result<std::vector<std::string>> system_lookup(const std::string& name);

struct resolver_options {
  std::vector<std::string> endpoints;  // see runtime/endpoint_names.hpp
  // Gets all endpoints, and why names have none: at once on the caller's thread when there are no names, else on the
  // resolver's when each was asked for once, and then with each change.
  std::function<void(std::vector<std::string> endpoints, std::string problem)> changed;
  name_lookup lookup = system_lookup;
  std::chrono::milliseconds period = limits::name_refresh;
};

class resolver {
public:
  explicit resolver(resolver_options options);
  // Nothing is told after it. Does not wait for a lookup that is under way.
  ~resolver();
  resolver(const resolver&) = delete;
  resolver& operator=(const resolver&) = delete;

private:
  struct shared;
  std::shared_ptr<shared> shared_;
};

}  // namespace fxfarm::net
