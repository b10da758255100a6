// Where an exposer listens, whom it answers there, and how it leaves.

#include "http_get.hpp"
#include "monitoring/exposer.hpp"

#include <atomic>
#include <chrono>
#include <ctime>
#include <semaphore>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

using namespace fxfarm::monitoring;
using fxfarm::http_get;
using fxfarm::http_request_to;

namespace {

constexpr auto patience = std::chrono::seconds(60);
std::counting_semaphore<> looks_begun{0};
std::atomic<unsigned> looks_in_vain = 0;

bool listens(int fd) {
  int yes = 0;
  socklen_t size = sizeof yes;
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) == 0 && yes != 0;
}

}  // namespace

// The C library's poll, for all of this program: how often a server has begun to wait for a connection, and how often
// its time was up before there was one. By another name, since the header's declaration has it that nobody reads
// `what`.
extern "C" [[gnu::visibility("default")]] int counting_poll(pollfd* what, nfds_t count, int ms) __asm__("poll");
int counting_poll(pollfd* what, nfds_t count, int ms) {
  const bool look = count > 0 && listens(what[0].fd);
  if (look) looks_begun.release();
  const timespec most{ms / 1000, ms % 1000 * 1'000'000L};
  const int ready = ::ppoll(what, count, ms < 0 ? nullptr : &most, nullptr);
  if (look && ready == 0) ++looks_in_vain;
  return ready;
}

TEST(exposer, serves_its_page_to_names_of_this_host_only_when_it_listens_there_only) {
  metrics m("0.1.0", "coordinator");
  const auto answer = [](const http_request&) { return http_answer{}; };
  const http_routes routes{{"GET", "/", answer}, {"GET", "/api/status", answer}, {"POST", "/api/drain", answer}};
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem, routes);
  ASSERT_TRUE(e) << problem;
  const auto status = [&](const std::string& method, const std::string& path, const std::string& host) {
    return http_request_to(e->address(), method, path, "Host: " + host + "\r\n", "").substr(0, 12);
  };
  EXPECT_EQ(status("GET", "/", "example.com:9090"), "HTTP/1.1 421");
  EXPECT_EQ(status("GET", "/api/status", "example.com"), "HTTP/1.1 421");
  EXPECT_EQ(status("POST", "/api/drain", "example.com"), "HTTP/1.1 421");
  EXPECT_EQ(status("GET", "/api/status", "localhost:8080"), "HTTP/1.1 200");
  EXPECT_EQ(status("GET", "/api/status", "127.0.0.1"), "HTTP/1.1 200");
  EXPECT_EQ(status("GET", "/metrics", "example.com"), "HTTP/1.1 200");
  EXPECT_EQ(status("GET", "/healthz", "example.com"), "HTTP/1.1 200");
  e = exposer::start(m, "0.0.0.0:0", problem, routes);
  ASSERT_TRUE(e) << problem;
  EXPECT_EQ(status("GET", "/api/status", "farm.example.com"), "HTTP/1.1 200");
}

TEST(exposer, says_who_was_refused_and_asks_for_a_token_of_metrics_alone) {
  metrics m("0.1.0", "coordinator");
  const auto answer = [](const http_request&) { return http_answer{}; };
  exposer_access access;
  std::atomic<int> misnamed{0};
  access.misnamed = [&] { ++misnamed; };
  access.scraping = [](const http_request& r) {
    return r.authorization == "Bearer x" ? std::nullopt : std::optional(http_answer{401, "text/plain", "no"});
  };
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem, {{"GET", "/api/status", answer}}, access);
  ASSERT_TRUE(e) << problem;
  const auto status = [&](const std::string& path, const std::string& headers) {
    return http_request_to(e->address(), "GET", path, headers, "").substr(0, 12);
  };
  EXPECT_EQ(status("/metrics", ""), "HTTP/1.1 401");
  EXPECT_EQ(status("/metrics", "Authorization: Bearer x\r\n"), "HTTP/1.1 200");
  for (const char* path : {"/healthz", "/api/status"}) EXPECT_EQ(status(path, ""), "HTTP/1.1 200") << path;
  EXPECT_EQ(misnamed, 0);
  EXPECT_EQ(status("/api/status", "Host: example.com\r\n"), "HTTP/1.1 421");
  EXPECT_EQ(misnamed, 1);
}

TEST(exposer, serves_its_page_to_the_names_that_it_is_given_wherever_it_listens) {
  metrics m("0.1.0", "coordinator");
  const auto answer = [](const http_request&) { return http_answer{}; };
  for (const char* address : {"127.0.0.1:0", "0.0.0.0:0"}) {
    std::string problem;
    auto e = exposer::start(m, address, problem, {{"GET", "/api/status", answer}}, {.names = {"farm.example.com"}});
    ASSERT_TRUE(e) << problem;
    const auto status = [&](const std::string& path, const std::string& host) {
      return http_request_to(e->address(), "GET", path, "Host: " + host + "\r\n", "").substr(0, 12);
    };
    EXPECT_EQ(status("/api/status", "farm.example.com:9090"), "HTTP/1.1 200") << address;
    EXPECT_EQ(status("/api/status", "127.0.0.1"), "HTTP/1.1 200") << address;
    EXPECT_EQ(status("/api/status", "other.example.com"), "HTTP/1.1 421") << address;
    EXPECT_EQ(status("/metrics", "other.example.com"), "HTTP/1.1 200") << address;
  }
}

TEST(exposer, leaves_without_waiting_for_the_server_to_look_whether_it_is_to) {
  metrics m("0.1.0", "local");
  constexpr unsigned rounds = 5;
  for (const char* address : {"127.0.0.1:0", "0.0.0.0:0"}) {
    looks_in_vain = 0;
    for (unsigned i = 0; i < rounds; ++i) {
      while (looks_begun.try_acquire()) continue;
      std::string problem;
      auto e = exposer::start(m, address, problem);
      ASSERT_TRUE(e) << problem;
      ASSERT_TRUE(looks_begun.try_acquire_for(patience));
      e.reset();
    }
    // One that nobody wakes has looked in vain once in each round.
    EXPECT_LT(looks_in_vain, rounds) << address;
  }
}

TEST(exposer, says_that_a_port_is_taken) {
  metrics m("0.1.0", "local");
  std::string problem;
  auto first = exposer::start(m, "127.0.0.1:0", problem);
  ASSERT_TRUE(first);
  EXPECT_FALSE(exposer::start(m, first->address(), problem));
  EXPECT_EQ(problem, "cannot serve metrics at " + first->address() + ": Address already in use");
  const auto freed = first->address();
  first.reset();
  EXPECT_TRUE(http_get(freed, "/metrics").empty());
}

TEST(exposer, refuses_what_is_no_address) {
  metrics m("0.1.0", "local");
  for (const char* address : {"", "9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000", "here:9464",
                              "127.0.0.1:80,127.0.0.1:81"}) {
    std::string problem;
    EXPECT_FALSE(exposer::start(m, address, problem)) << address;
    EXPECT_NE(problem.find("'" + std::string(address) + "' is no address"), std::string::npos) << problem;
  }
}

TEST(exposer, outlives_the_metrics_that_it_serves) {
  std::string problem;
  std::unique_ptr<exposer> e;
  {
    metrics m("0.1.0", "local");
    m.coordinator().lookup_received();
    e = exposer::start(m, "127.0.0.1:0", problem);
  }
  ASSERT_TRUE(e) << problem;
  EXPECT_NE(http_get(e->address(), "/metrics").find("fxfarm_lookups_total 1"), std::string::npos);
}
