#include "monitoring/exposer.hpp"

#include "http_get.hpp"

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm::monitoring;
using fxfarm::http_connect;
using fxfarm::http_get;
using fxfarm::http_request_to;

TEST(exposer, says_that_the_process_lives_and_what_it_is) {
  metrics m("1.2.3", "worker");
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem);
  ASSERT_TRUE(e) << problem;
  const auto reply = http_get(e->address(), "/healthz");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200"));
  EXPECT_NE(reply.find(R"(fxfarm_build_info{role="worker",version="1.2.3"} 1)"), std::string::npos);
  EXPECT_TRUE(http_get(e->address(), "/other").starts_with("HTTP/1.1 404"));
}

TEST(exposer, says_whether_the_process_can_work_and_what_it_lacks) {
  metrics m("0.1.0", "worker");
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem);
  ASSERT_TRUE(e) << problem;
  auto reply = http_get(e->address(), "/readyz");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 503")) << reply;
  EXPECT_TRUE(reply.ends_with("\r\n\r\nrole: it is starting\n")) << reply;
  m.ready()->lacks("engines", "none is warm");
  m.ready()->lacks("role", {});
  EXPECT_TRUE(http_get(e->address(), "/readyz").ends_with("\r\n\r\nengines: none is warm\n"));
  EXPECT_NE(http_get(e->address(), "/metrics").find("\nfxfarm_ready 0\n"), std::string::npos);
  m.ready()->lacks("engines", {});
  reply = http_get(e->address(), "/readyz");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200")) << reply;
  EXPECT_NE(http_get(e->address(), "/metrics").find("\nfxfarm_ready 1\n"), std::string::npos);
}

TEST(exposer, hands_a_request_to_whoever_answers_its_path_and_method) {
  metrics m("0.1.0", "coordinator");
  http_request seen;
  const auto answer = [&](const http_request& r) {
    seen = r;
    return http_answer{200, "application/json", "{}"};
  };
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem, {{"GET", "/api/graphs", answer}, {"POST", "/api/drain", answer}});
  ASSERT_TRUE(e) << problem;
  auto reply = http_get(e->address(), "/api/graphs?name=a%20%3Cb%3E+c&state=&x");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200")) << reply;
  EXPECT_TRUE(reply.ends_with("\r\n\r\n{}")) << reply;
  EXPECT_EQ(seen.parameters, (std::map<std::string, std::string>{{"name", "a <b> c"}, {"state", ""}, {"x", ""}}));
  for (const char* line : {"\r\nContent-Type: application/json\r\n", "\r\nCache-Control: no-store\r\n",
                           "\r\nContent-Security-Policy: default-src 'none'; script-src 'self'; ",
                           "\r\nX-Content-Type-Options: nosniff\r\n"}) {
    EXPECT_NE(reply.find(line), std::string::npos) << line;
  }
  const std::string headers = "Authorization: Bearer x\r\nContent-Type: application/json\r\n";
  reply = http_request_to(e->address(), "POST", "/api/drain", headers, R"({"worker":"w"})");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200")) << reply;
  EXPECT_EQ(seen.body, R"({"worker":"w"})");
  EXPECT_EQ(seen.authorization, "Bearer x");
  EXPECT_EQ(seen.content_type, "application/json");
  EXPECT_EQ(seen.peer, "127.0.0.1");
}

TEST(exposer, turns_away_what_no_route_is_for_or_is_too_long) {
  metrics m("0.1.0", "coordinator");
  const auto answer = [](const http_request&) -> http_answer { throw std::runtime_error("broken"); };
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem, {{"GET", "/get", answer}, {"POST", "/post", answer}});
  ASSERT_TRUE(e) << problem;
  const auto status = [&](const std::string& method, const std::string& path, const std::string& body = "") {
    return http_request_to(e->address(), method, path, "", body).substr(0, 12);
  };
  EXPECT_EQ(status("POST", "/get"), "HTTP/1.1 405");
  EXPECT_EQ(status("GET", "/post"), "HTTP/1.1 405");
  EXPECT_EQ(status("DELETE", "/post"), "HTTP/1.1 405");
  EXPECT_EQ(status("GET", "/get/more"), "HTTP/1.1 404");
  EXPECT_EQ(status("GET", "/get"), "HTTP/1.1 500");
  EXPECT_EQ(status("GET", "/get?a=" + std::string(http_parameter_bytes_max + 1, 'x')), "HTTP/1.1 400");
  std::string many = "/get?";
  for (std::size_t i = 0; i <= http_parameters_max; ++i) many += "p" + std::to_string(i) + "=1&";
  EXPECT_EQ(status("GET", many), "HTTP/1.1 400");
  EXPECT_EQ(status("POST", "/post", std::string(http_body_bytes_max + 1, 'x')), "HTTP/1.1 413");
  EXPECT_EQ(status("POST", "/post", std::string(http_body_bytes_max, 'x')), "HTTP/1.1 500");
  EXPECT_FALSE(status("GET", "/" + std::string(http_head_bytes_max, 'x')).starts_with("HTTP/1.1 2"));
}

TEST(exposer, allows_other_sites_nothing) {
  metrics m("0.1.0", "coordinator");
  const auto answer = [](const http_request&) { return http_answer{}; };
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem, {{"GET", "/api/status", answer}, {"POST", "/api/drain", answer}});
  ASSERT_TRUE(e) << problem;
  const std::string origin = "Origin: http://example.com\r\n";
  const auto preflight = http_request_to(e->address(), "OPTIONS", "/api/drain",
                                         origin +
                                             "Access-Control-Request-Method: POST\r\n"
                                             "Access-Control-Request-Headers: authorization,content-type\r\n",
                                         "");
  EXPECT_TRUE(preflight.starts_with("HTTP/1.1 405")) << preflight;
  for (const auto& reply : {preflight, http_request_to(e->address(), "GET", "/api/status", origin, ""),
                            http_request_to(e->address(), "POST", "/api/drain", origin, "{}"),
                            http_request_to(e->address(), "GET", "/metrics", origin, ""),
                            http_request_to(e->address(), "GET", "/nothing", origin, "")}) {
    EXPECT_TRUE(reply.starts_with("HTTP/1.1 ")) << reply;
    EXPECT_EQ(reply.find("Access-Control-"), std::string::npos) << reply;
  }
}

TEST(exposer, answers_beside_connections_that_say_nothing) {
  metrics m("0.1.0", "coordinator");
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem);
  ASSERT_TRUE(e) << problem;
  constexpr std::size_t silent_count = 16;
  // Without a free thread an answer comes once one of them has been given up, however often it is tried; with one, a
  // machine that stood still meanwhile has another go.
  bool beside_all = false;
  for (int i = 0; i < 5 && !beside_all; ++i) {
    std::vector<int> silent;
    while (silent.size() < silent_count) silent.push_back(http_connect(e->address()));
    EXPECT_TRUE(http_get(e->address(), "/healthz").starts_with("HTTP/1.1 200"));
    beside_all = std::all_of(silent.begin(), silent.end(), [](int fd) {
      char byte = 0;
      return ::recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
    });
    for (const int fd : silent) ::close(fd);
  }
  EXPECT_TRUE(beside_all);
}

TEST(exposer, has_links_where_there_is_no_page) {
  metrics m("0.1.0", "worker");
  std::string problem;
  auto e = exposer::start(m, "127.0.0.1:0", problem);
  ASSERT_TRUE(e) << problem;
  const auto reply = http_get(e->address(), "/");
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200")) << reply;
  for (const char* link : {"href=\"metrics\"", "href=\"healthz\"", "href=\"readyz\""}) {
    EXPECT_NE(reply.find(link), std::string::npos) << link;
  }
}
