#pragma once
// Where the Redis is that coordinators share, and how to get in, written as one URL:
//
//   redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]         one server
//   redis+sentinel://[...@]HOST[:PORT],.../NAME[/DATABASE] the master that Sentinels know under that name
//   redis+cluster://[...@]HOST[:PORT],...                  a cluster, found through any of those nodes
//   unix://[...@]/PATH                                     a socket of this host
//
// With rediss instead of redis, everything goes over TLS. User and password may be percent-encoded.

#include "runtime/error.hpp"

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

enum class redis_kind { server, sentinel, cluster };

struct redis_address {
  std::string host;  // a name, or an IP address without brackets; of a socket its path, which starts with /
  std::uint16_t port = 0;

  bool is_socket() const { return host.starts_with('/'); }
  // NOLINTNEXTLINE(modernize-use-nullptr): the check takes the comparison's own zero for a pointer
  auto operator<=>(const redis_address&) const = default;
};

struct redis_target {
  redis_kind kind = redis_kind::server;
  bool tls = false;
  std::vector<redis_address> addresses;  // at least one; of a server exactly one
  std::string user;                      // empty: the default user
  std::string password;                  // empty: none
  unsigned database = 0;
  std::string master;  // the name that Sentinels know
};

// Errors: bad_config, whose message has nothing of what may be a password.
result<redis_target> parse_redis_url(std::string_view url);

// "HOST:PORT"; brackets around an IPv6 address.
std::string to_string(const redis_address& address);
// The URL without user and password: for logs and status.
std::string to_string(const redis_target& target);
// Whether nothing that is sent there can leave this host, as far as the URL tells.
bool stays_on_host(const redis_target& target);

}  // namespace fxfarm
