#include "monitoring/exposer.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <exception>
#include <optional>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <sys/socket.h>
#include <unistd.h>

namespace fxfarm::monitoring {
namespace {

std::optional<sockaddr_in> parse(const std::string& address) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::uint16_t port = 0;
  const char* const end = address.data() + address.size();
  const auto [stopped, why] = std::from_chars(address.data() + colon + 1, end, port);
  sockaddr_in parsed{};
  parsed.sin_family = AF_INET;
  parsed.sin_port = htons(port);
  const bool good = why == std::errc() && stopped == end &&
                    ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &parsed.sin_addr) == 1;
  return good ? std::optional(parsed) : std::nullopt;
}

// The server only says that it could not start; trying the same again tells the reason.
std::string why_not(const sockaddr_in& address) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::strerror(errno);
  const bool bound =
      ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 && ::listen(fd, 1) == 0;
  const std::string why = bound ? "the server could not start" : std::strerror(errno);
  ::close(fd);
  return why;
}

}  // namespace

struct exposer::impl {
  std::shared_ptr<prometheus::Collectable> everything;
  std::shared_ptr<prometheus::Collectable> build;
  std::unique_ptr<prometheus::Exposer> server;
};

exposer::exposer(std::unique_ptr<impl> i, std::string address) : impl_(std::move(i)), address_(std::move(address)) {}
exposer::~exposer() = default;

std::unique_ptr<exposer> exposer::start(const metrics& m, const std::string& address, std::string& problem) {
  const auto parsed = parse(address);
  if (!parsed) {
    problem =
        "'" + address + "' is no address to serve metrics at: an IPv4 address and a port are, such as 127.0.0.1:9464";
    return nullptr;
  }
  auto made = std::make_unique<impl>();
  made->everything = m.collectable();
  made->build = m.build();
  try {
    // One scraper is usual; the second thread keeps health checks going while it is slow.
    made->server = std::make_unique<prometheus::Exposer>(std::vector<std::string>{
        "listening_ports", address, "num_threads", "2", "request_timeout_ms", "5000", "enable_keep_alive", "no"});
    made->server->RegisterCollectable(made->everything, "/metrics");
    made->server->RegisterCollectable(made->build, "/healthz");
  } catch (const std::exception&) {
    problem = "cannot serve metrics at " + address + ": " + why_not(*parsed);
    return nullptr;
  }
  const auto ports = made->server->GetListeningPorts();
  const auto host = address.substr(0, address.rfind(':'));
  return std::unique_ptr<exposer>(new exposer(std::move(made), host + ":" + std::to_string(ports.at(0))));
}

}  // namespace fxfarm::monitoring
