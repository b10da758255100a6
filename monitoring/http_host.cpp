#include "monitoring/http_host.hpp"

#include <algorithm>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

namespace fxfarm::monitoring {

bool names_this_host(std::string_view header, const std::vector<std::string>& names) {
  if (header.empty()) return true;
  in6_addr parsed{};
  if (header.starts_with('[')) {
    const auto end = header.find(']');
    const std::string inside(header.substr(1, end - 1));
    return end != std::string_view::npos && ::inet_pton(AF_INET6, inside.c_str(), &parsed) == 1;
  }
  const std::string host(header.substr(0, header.find(':')));
  const auto is = [&](const std::string& name) { return ::strcasecmp(host.c_str(), name.c_str()) == 0; };
  return is("localhost") || ::inet_pton(AF_INET, host.c_str(), &parsed) == 1 ||
         std::any_of(names.begin(), names.end(), is);
}

}  // namespace fxfarm::monitoring
