#pragma once
// The least of an HTTP client: what a scraper would see, over a real socket.

#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace fxfarm {

// A socket that is connected to 127.0.0.1 at `address`'s port, or -1. The caller closes it.
inline int http_connect(const std::string& address) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0) return fd;
  ::close(fd);
  return -1;
}

// Status line, headers and body; empty when nobody listens on 127.0.0.1 at `address`'s port. `headers`: lines, each
// with its end; with a Host of its own, if one is among them.
inline std::string http_request_to(const std::string& address, const std::string& method, const std::string& path,
                                   const std::string& headers, const std::string& body) {
  const int fd = http_connect(address);
  std::string reply;
  if (fd >= 0) {
    const auto length = body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n";
    const auto host = headers.find("Host: ") == std::string::npos ? "Host: " + address + "\r\n" : "";
    const auto request =
        method + " " + path + " HTTP/1.1\r\nConnection: close\r\n" + host + headers + length + "\r\n" + body;
    char buffer[4096];
    ssize_t n = ::send(fd, request.data(), request.size(), MSG_NOSIGNAL);
    while (n > 0 && (n = ::recv(fd, buffer, sizeof(buffer), 0)) > 0) reply.append(buffer, static_cast<std::size_t>(n));
    ::close(fd);
  }
  return reply;
}

inline std::string http_get(const std::string& address, const std::string& path) {
  return http_request_to(address, "GET", path, "", "");
}

}  // namespace fxfarm
