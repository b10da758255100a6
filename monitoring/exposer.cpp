#include "monitoring/exposer.hpp"

#include "monitoring/http_host.hpp"
#include "monitoring/log.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <exception>
#include <future>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
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

// Pages load nothing from elsewhere and are shown in nobody's frame; what is told is never kept.
constexpr const char* headers_of_all =
    "Cache-Control: no-store\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "
    "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Connection: close\r\n";
constexpr auto wake_interval = std::chrono::milliseconds(5);
constexpr const char* exposition = "text/plain; version=0.0.4; charset=utf-8";

const char* status_line(int status) {
  switch (status) {
    case 200:
      return "200 OK";
    case 400:
      return "400 Bad Request";
    case 401:
      return "401 Unauthorized\r\nWWW-Authenticate: Bearer";
    case 403:
      return "403 Forbidden";
    case 404:
      return "404 Not Found";
    case 405:
      return "405 Method Not Allowed";
    case 413:
      return "413 Content Too Large";
    case 415:
      return "415 Unsupported Media Type";
    case 421:
      return "421 Misdirected Request";
    case 503:
      return "503 Service Unavailable\r\nRetry-After: 1";
    default:
      return "500 Internal Server Error";
  }
}

// Name and value of each parameter; nothing when there are more, or longer ones, than anybody has use for.
std::optional<std::map<std::string, std::string>> parameters_of(const char* query) {
  std::map<std::string, std::string> all;
  std::string_view rest = query == nullptr ? "" : query;
  while (!rest.empty()) {
    const auto one = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    if (one.empty()) continue;
    const auto equals = std::min(one.find('='), one.size());
    std::string name, value;
    CivetServer::urlDecode(one.data(), equals, name);
    if (equals < one.size()) CivetServer::urlDecode(one.data() + equals + 1, one.size() - equals - 1, value);
    if (value.size() > http_parameter_bytes_max || all.size() == http_parameters_max) return std::nullopt;
    all.insert_or_assign(std::move(name), std::move(value));
  }
  return all;
}

// Nothing when it is longer than a body may be.
std::optional<std::string> body_of(mg_connection* from, const mg_request_info& info) {
  if (info.content_length > static_cast<long long>(http_body_bytes_max)) return std::nullopt;
  std::string body(http_body_bytes_max + 1, '\0');
  std::size_t have = 0;
  while (have < body.size()) {
    const int n = mg_read(from, body.data() + have, body.size() - have);
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  if (have > http_body_bytes_max) return std::nullopt;
  body.resize(have);
  return body;
}

std::string header(const mg_connection* from, const char* name) {
  const char* const value = mg_get_header(from, name);
  return value == nullptr ? "" : value;
}

// Answers the requests of one path.
class route_handler : public CivetHandler {
public:
  // Null: whoever asks may call this host anything.
  route_handler(http_route route, std::shared_ptr<const exposer_access> named)
      : route_(std::move(route)), named_(std::move(named)) {}

  const std::string& path() const { return route_.path; }
  bool handleGet(CivetServer*, mg_connection* from) override { return reply(from, "GET", true); }
  bool handleHead(CivetServer*, mg_connection* from) override { return reply(from, "GET", false); }
  bool handlePost(CivetServer*, mg_connection* from) override { return reply(from, "POST", true); }
  bool handlePut(CivetServer*, mg_connection* from) override { return reply(from, "PUT", true); }
  bool handleDelete(CivetServer*, mg_connection* from) override { return reply(from, "DELETE", true); }
  bool handlePatch(CivetServer*, mg_connection* from) override { return reply(from, "PATCH", true); }
  bool handleOptions(CivetServer*, mg_connection* from) override { return reply(from, "OPTIONS", true); }

private:
  bool reply(mg_connection* to, const char* method, bool with_body) const {
    const auto answer = answer_to(to, method);
    mg_printf(to, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n", status_line(answer.status),
              answer.type.c_str(), answer.body.size(), headers_of_all);
    if (with_body) mg_write(to, answer.body.data(), answer.body.size());
    return true;
  }

  http_answer answer_to(mg_connection* from, const std::string& method) const {
    const auto& info = *mg_get_request_info(from);
    // The server also gives what lies below the path.
    if (info.local_uri == nullptr || route_.path != info.local_uri) return {404, "text/plain", "no such page\n"};
    if (named_ && !names_this_host(header(from, "Host"), named_->names)) {
      if (named_->misnamed) named_->misnamed();
      return {
          421, "text/plain",
          "want this host as localhost, by its address or by a name of --page-hosts; a proxy has to ask for it so\n"};
    }
    if (method != route_.method) return {405, "text/plain", "want " + route_.method + "\n"};
    auto parameters = parameters_of(info.query_string);
    if (!parameters) return {400, "text/plain", "the query is too long\n"};
    http_request request{
        *std::move(parameters), header(from, "Content-Type"), header(from, "Authorization"), {}, info.remote_addr};
    if (method == "POST") {
      auto body = body_of(from, info);
      if (!body) return {413, "text/plain", "the body is too long\n"};
      request.body = *std::move(body);
    }
    // Below this is C, which lets no exception through.
    try {
      return route_.answer(request);
    } catch (const std::exception& e) {
      log::error("a request could not be answered", {{"path", route_.path}, {"why", e.what()}});
      return {500, "text/plain", "something went wrong; the log has it\n"};
    }
  }

  const http_route route_;
  const std::shared_ptr<const exposer_access> named_;
};

http_answer tell_readiness(const readiness& ready) {
  const auto lacking = ready.lacking();
  if (lacking.empty()) return {200, exposition, "ready\n"};
  std::string body;
  for (const auto& [part, what] : lacking) body += part + ": " + what + "\n";
  return {503, exposition, std::move(body)};
}

http_routes routes_of_all(const metrics& m, const http_gate& scraping) {
  return {{"GET", "/metrics",
           [text = m.text_reader(), scraping](const http_request& r) {
             if (auto refused = scraping ? scraping(r) : std::nullopt) return *std::move(refused);
             return http_answer{200, exposition, text()};
           }},
          {"GET", "/healthz",
           [text = m.build_reader()](const http_request&) {
             return http_answer{200, exposition, text()};
           }},
          {"GET", "/readyz", [r = m.ready()](const http_request&) { return tell_readiness(*r); }}};
}

std::vector<std::string> server_options(const std::string& address) {
  const std::pair<const char*, std::string> options[] = {
      {"listening_ports", address},
      {"num_threads", std::to_string(http_threads)},
      {"request_timeout_ms", std::to_string(http_request_ms_max)},
      {"max_request_size", std::to_string(http_head_bytes_max)},
      {"enable_keep_alive", "no"},
      // Their defaults allow every other site what is asked for here.
      {"access_control_allow_origin", ""},
      {"access_control_allow_methods", ""},
      {"access_control_allow_headers", ""},
  };
  std::vector<std::string> flat;
  for (const auto& [name, value] : options) flat.insert(flat.end(), {name, value});
  return flat;
}

// A connection to the server and nothing more; the end of it leaves no trace in the kernel.
void touch(const sockaddr_in& server) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const linger at_once{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  // A server that refuses has stopped already.
  [[maybe_unused]] const int connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&server), sizeof server);
  ::close(fd);
}

// The thread of the server's that accepts looks whether it is to stop when somebody connects, and else every two
// seconds (civetweb 1.15, SOCKET_TIMEOUT_QUANTUM in mg_poll, which is no option). Nobody who ends is to wait for that.
void close_at_once(CivetServer& server, sockaddr_in at) {
  if (at.sin_addr.s_addr == htonl(INADDR_ANY)) at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::promise<void> closed;
  std::thread waker;
  try {
    waker = std::thread([&at, end = closed.get_future()] {
      do touch(at);
      while (end.wait_for(wake_interval) != std::future_status::ready);
    });
  } catch (const std::system_error&) {
    // Without a thread it takes the two seconds.
  }
  server.close();
  closed.set_value();
  if (waker.joinable()) waker.join();
}

http_answer links() {
  return {
      200, "text/html; charset=utf-8",
      "<!doctype html><html lang=\"en\"><title>fxfarm</title><h1>fxfarm</h1><p>The status page is the coordinator's."
      "</p><ul><li><a href=\"metrics\">metrics</a></li><li><a href=\"healthz\">healthz</a></li><li><a "
      "href=\"readyz\">readyz</a></li></ul></html>\n"};
}

}  // namespace

struct exposer::impl {
  impl(const metrics& m, http_routes routes, const std::shared_ptr<const exposer_access>& access, bool by_name) {
    const bool has_page = std::any_of(routes.begin(), routes.end(), [](const http_route& r) { return r.path == "/"; });
    if (!has_page) routes.push_back({"GET", "/", [](const http_request&) { return links(); }});
    for (auto& r : routes)
      handlers.push_back(std::make_unique<route_handler>(std::move(r), by_name ? access : nullptr));
    // Scrapers and probes may know this host by any name.
    for (auto& r : routes_of_all(m, access->scraping))
      handlers.push_back(std::make_unique<route_handler>(std::move(r), nullptr));
  }

  ~impl() {
    if (server) close_at_once(*server, listens_at);
  }

  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  std::vector<std::unique_ptr<route_handler>> handlers;
  sockaddr_in listens_at{};
  std::unique_ptr<CivetServer> server;  // last: its threads use the handlers
};

exposer::exposer(std::unique_ptr<impl> i, std::string address) : impl_(std::move(i)), address_(std::move(address)) {}
exposer::~exposer() = default;

std::unique_ptr<exposer> exposer::start(const metrics& m, const std::string& address, std::string& problem,
                                        http_routes routes, exposer_access access) {
  const auto parsed = parse(address);
  if (!parsed) {
    problem =
        "'" + address + "' is no address to serve metrics at: an IPv4 address and a port are, such as 127.0.0.1:9464";
    return nullptr;
  }
  // Whoever opens it to others gives it names that are known here only if they are told.
  const bool on_loopback = ntohl(parsed->sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
  const bool by_name = on_loopback || !access.names.empty();
  auto made =
      std::make_unique<impl>(m, std::move(routes), std::make_shared<const exposer_access>(std::move(access)), by_name);
  try {
    made->server = std::make_unique<CivetServer>(server_options(address));
  } catch (const CivetException&) {
    problem = "cannot serve metrics at " + address + ": " + why_not(*parsed);
    return nullptr;
  }
  for (const auto& h : made->handlers) made->server->addHandler(h->path(), h.get());
  const auto ports = made->server->getListeningPorts();
  made->listens_at = *parsed;
  made->listens_at.sin_port = htons(static_cast<std::uint16_t>(ports.at(0)));
  const auto host = address.substr(0, address.rfind(':'));
  return std::unique_ptr<exposer>(new exposer(std::move(made), host + ":" + std::to_string(ports.at(0))));
}

}  // namespace fxfarm::monitoring
