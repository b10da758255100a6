#include "monitoring/http_host.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

namespace fxfarm::monitoring {

bool names_this_host(std::string_view header) {
  if (header.empty()) return true;
  in6_addr parsed{};
  if (header.starts_with('[')) {
    const auto end = header.find(']');
    const std::string inside(header.substr(1, end - 1));
    return end != std::string_view::npos && ::inet_pton(AF_INET6, inside.c_str(), &parsed) == 1;
  }
  const std::string host(header.substr(0, header.find(':')));
  return ::strcasecmp(host.c_str(), "localhost") == 0 || ::inet_pton(AF_INET, host.c_str(), &parsed) == 1;
}

}  // namespace fxfarm::monitoring
