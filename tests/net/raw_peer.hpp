#pragma once
// A peer with a plain TCP socket of its own, for tests of what becomes of a connection: just enough of ZMTP 3.0 (the
// NULL mechanism) to say something, and to see when the other end hangs up.

#include "net/codec.hpp"
#include "peers.hpp"
#include "runtime/file_handle.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

namespace fxfarm::net {

inline std::uint16_t port_of(const std::string& endpoint) {
  return static_cast<std::uint16_t>(std::stoul(endpoint.substr(endpoint.rfind(':') + 1)));
}

// The descriptor in this process at which a listener with this port has the connection that comes from port `from`;
// negative: there is none.
inline int descriptor_at(std::uint16_t port, std::uint16_t from) {
  constexpr int looked_at = 1'024;
  for (int fd = 0; fd < looked_at; ++fd) {
    sockaddr_in own{}, other{};
    socklen_t own_size = sizeof own, other_size = sizeof other;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_size) != 0 || own.sin_family != AF_INET) continue;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&other), &other_size) != 0) continue;
    if (ntohs(own.sin_port) == port && ntohs(other.sin_port) == from) return fd;
  }
  return -1;
}

class raw_peer {
public:
  // Connected to 127.0.0.1, with the handshake begun or not.
  explicit raw_peer(std::uint16_t port, bool greets = true) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    if (!greets) return;
    std::string greeting("\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL", 16);
    greeting.resize(64, '\0');
    const std::string ready(
        "\x05READY\x0bSocket-Type\0\0\0\x06"
        "DEALER",
        28);
    write(greeting + '\x04' + static_cast<char>(ready.size()) + ready);
    hears("READY");  // ZeroMQ takes a message that comes before it has said so for a broken handshake
  }

  bool connected() const { return connected_; }
  std::uint16_t port() const {
    sockaddr_in own{};
    socklen_t size = sizeof own;
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&own), &size);
    return ntohs(own.sin_port);
  }

  void send(const message& what) {
    constexpr char long_frame = 2;
    const auto frame = encode(what);
    std::string out(1, long_frame);
    for (int bits = 56; bits >= 0; bits -= 8) out += static_cast<char>(frame.size() >> bits);
    out.append(reinterpret_cast<const char*>(frame.data()), frame.size());
    write(out);
  }
  // Reads until `part` has come; false when the connection ends before, or nothing comes.
  bool hears(std::string_view part) {
    while (came_.find(part) == std::string::npos) {
      if (!read()) return false;
    }
    return true;
  }
  // Reads until the other end hangs up; false when it does not.
  bool is_hung_up_on() {
    while (read()) {
    }
    return ended_;
  }
  void close() { socket_.reset(); }

private:
  void write(const std::string& all) { (void)!::send(socket_.get(), all.data(), all.size(), MSG_NOSIGNAL); }
  bool read() {
    pollfd one{socket_.get(), POLLIN, 0};
    if (::poll(&one, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) <= 0) return false;
    std::array<char, 4096> piece{};
    const auto size = ::recv(socket_.get(), piece.data(), piece.size(), 0);
    ended_ = size <= 0;
    if (!ended_) came_.append(piece.data(), static_cast<std::size_t>(size));
    return !ended_;
  }

  file_handle socket_;
  bool connected_ = false;
  bool ended_ = false;
  std::string came_;
};

}  // namespace fxfarm::net
