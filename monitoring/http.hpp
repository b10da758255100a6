#pragma once
// What an exposer passes on to whoever answers a path, and gets back. Nothing of the server's library shows here.

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fxfarm::monitoring {

// A connection has a thread until it is answered or has been silent for too long. Those that wait for somebody else's
// answer may take half of them (cli/farm_page.cpp), so that browsers, with connections that they open ahead of need,
// leave some for scrapers and health checks.
inline constexpr unsigned http_threads = 32;
inline constexpr unsigned http_request_ms_max = 2000;          // without a byte of a request, or taken of an answer
inline constexpr std::size_t http_head_bytes_max = 8192;       // request line and headers
inline constexpr std::size_t http_body_bytes_max = 4096;       // of a POST
inline constexpr std::size_t http_parameters_max = 16;         // of a query
inline constexpr std::size_t http_parameter_bytes_max = 1024;  // one value

struct http_request {
  std::map<std::string, std::string> parameters = {};  // of the query, decoded
  std::string content_type = {};
  std::string authorization = {};
  std::string body = {};
  std::string peer = {};  // address of who asks, for the log
};

struct http_answer {
  int status = 200;  // one that status_line knows
  std::string type = "text/plain; charset=utf-8";
  std::string body = {};
};

// Called on any of the server's threads.
using http_handler = std::function<http_answer(const http_request&)>;

// What refuses a request before it is answered: nothing when it may be. Called like a handler.
using http_gate = std::function<std::optional<http_answer>(const http_request&)>;

// Exactly that path and method; GET answers HEAD, too. On a loopback address, and where names are given, only for who
// calls this host by a name of its own: see monitoring/http_host.hpp.
struct http_route {
  std::string method;  // "GET" or "POST"
  std::string path;
  http_handler answer;
};
using http_routes = std::vector<http_route>;

}  // namespace fxfarm::monitoring
