#pragma once
// Bytes to and from a Redis server, over TCP, TLS or a socket file. Every wait has a deadline. Not thread-safe.

#include "runtime/bytes.hpp"
#include "runtime/error.hpp"
#include "runtime/file_handle.hpp"
#include "runtime/redis_url.hpp"

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace fxfarm {

// PEM files; empty: the system's authorities, and no certificate of our own.
struct redis_tls_files {
  std::string authorities;
  std::string certificate;
  std::string key;
};

// What connections over TLS have in common. The server's certificate must be signed by an authority and name the host.
class redis_tls {
public:
  // Errors: bad_config naming the file that cannot be used.
  static result<std::shared_ptr<const redis_tls>> load(const redis_tls_files& files);
  virtual ~redis_tls() = default;
};

class redis_stream {
public:
  using time_point = std::chrono::steady_clock::time_point;

  // `tls` null: not encrypted. Errors: `unreachable`, `timeout`, `refused` for a certificate that will not do. A host's
  // name is looked up by the system, which has deadlines of its own.
  static result<std::unique_ptr<redis_stream>> connect(const redis_address& address, const redis_tls* tls,
                                                       time_point until);
  virtual ~redis_stream() = default;

  // All of it. Errors: `unreachable`, `timeout`.
  virtual result<void> write(std::string_view data, time_point until) = 0;
  // At least one byte; how many. Errors: as above; `unreachable` also at the end of the stream.
  virtual result<std::size_t> read(std::span<char> into, time_point until) = 0;
};

}  // namespace fxfarm
