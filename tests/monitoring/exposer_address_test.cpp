// Where an exposer listens, whom it answers there, and how it leaves.

#include "http_get.hpp"
#include "monitoring/exposer.hpp"

#include <chrono>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm::monitoring;
using fxfarm::http_get;
using fxfarm::http_request_to;

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

TEST(exposer, serves_its_page_to_the_names_that_it_is_given_wherever_it_listens) {
  metrics m("0.1.0", "coordinator");
  const auto answer = [](const http_request&) { return http_answer{}; };
  for (const char* address : {"127.0.0.1:0", "0.0.0.0:0"}) {
    std::string problem;
    auto e = exposer::start(m, address, problem, {{"GET", "/api/status", answer}}, {"farm.example.com"});
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
  using clock = std::chrono::steady_clock;
  clock::duration spent{};
  // The server looks every two seconds; these would take 20 s.
  for (int i = 0; i < 10; ++i) {
    std::string problem;
    auto e = exposer::start(m, i % 2 == 0 ? "127.0.0.1:0" : "0.0.0.0:0", problem);
    ASSERT_TRUE(e) << problem;
    EXPECT_TRUE(http_get(e->address(), "/healthz").starts_with("HTTP/1.1 200"));
    const auto begin = clock::now();
    e.reset();
    spent += clock::now() - begin;
  }
  EXPECT_LT(spent, std::chrono::seconds(10));
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
