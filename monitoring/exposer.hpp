#pragma once
// What a process tells over HTTP: /metrics for Prometheus, /healthz (200: the process lives) and /readyz (200 when it
// can do its work, else 503 with what it lacks) for whoever starts, restarts or routes to it; and what else its owner
// has to show, such as a coordinator's status page.

#include "monitoring/http.hpp"
#include "monitoring/metrics.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace fxfarm::monitoring {

// Whom a server answers.
struct exposer_access {
  // Those that the routes may be asked by, besides addresses and "localhost" (see http_host.hpp); without any, all are
  // good where it listens beyond loopback.
  std::vector<std::string> names = {};
  http_gate scraping = {};              // of /metrics; null: whoever asks
  std::function<void()> misnamed = {};  // one asked by another name, and got 421
};

class exposer {
public:
  // `address` is "host:port" with an IPv4 address; port 0 takes any that is free. When it cannot listen there, returns
  // null and says why in `problem`. Keeps what it needs of `m` alive. Without a route for it, "/" is a list of links.
  static std::unique_ptr<exposer> start(const metrics& m, const std::string& address, std::string& problem,
                                        http_routes routes = {}, exposer_access access = {});
  // Waits for the answers under way.
  ~exposer();

  // Where it listens, with the real port.
  const std::string& address() const { return address_; }

private:
  struct impl;
  exposer(std::unique_ptr<impl> i, std::string address);
  std::unique_ptr<impl> impl_;
  std::string address_;
};

}  // namespace fxfarm::monitoring
