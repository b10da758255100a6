#include "monitoring/exposer.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <functional>
#include <optional>
#include <vector>

#include <CivetServer.h>
#include <arpa/inet.h>
#include <netinet/in.h>
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
  std::string why = bound ? "the server could not start" : std::strerror(errno);
  ::close(fd);
  return why;
}

struct answer {
  const char* status;  // "200 OK"
  std::string body;
};

// Answers every request of one path with what `tell` says.
class page : public CivetHandler {
public:
  explicit page(std::function<answer()> tell) : tell_(std::move(tell)) {}

  bool handleGet(CivetServer*, mg_connection* to) override {
    const auto now = tell_();
    mg_printf(to,
              "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %zu\r\n\r\n",
              now.status, now.body.size());
    mg_write(to, now.body.data(), now.body.size());
    return true;
  }

private:
  const std::function<answer()> tell_;
};

answer tell_readiness(const readiness& ready) {
  const auto lacking = ready.lacking();
  if (lacking.empty()) return {"200 OK", "ready\n"};
  std::string body;
  for (const auto& [part, what] : lacking) body += part + ": " + what + "\n";
  return {"503 Service Unavailable", std::move(body)};
}

}  // namespace

struct exposer::impl {
  explicit impl(const metrics& m)
      : everything([text = m.text_reader()] {
          return answer{"200 OK", text()};
        }),
        health([text = m.build_reader()] {
          return answer{"200 OK", text()};
        }),
        ready([r = m.ready()] { return tell_readiness(*r); }) {}

  page everything;
  page health;
  page ready;
  std::unique_ptr<CivetServer> server;  // last: its threads use the pages
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
  auto made = std::make_unique<impl>(m);
  try {
    // One scraper is usual; the second thread keeps health checks going while it is slow.
    made->server = std::make_unique<CivetServer>(std::vector<std::string>{
        "listening_ports", address, "num_threads", "2", "request_timeout_ms", "5000", "enable_keep_alive", "no"});
  } catch (const CivetException&) {
    problem = "cannot serve metrics at " + address + ": " + why_not(*parsed);
    return nullptr;
  }
  made->server->addHandler("/metrics", made->everything);
  made->server->addHandler("/healthz", made->health);
  made->server->addHandler("/readyz", made->ready);
  const auto ports = made->server->getListeningPorts();
  const auto host = address.substr(0, address.rfind(':'));
  return std::unique_ptr<exposer>(new exposer(std::move(made), host + ":" + std::to_string(ports.at(0))));
}

}  // namespace fxfarm::monitoring
