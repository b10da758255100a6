#include "cli/farm_page.hpp"

#include "monitoring/page.hpp"

#include <algorithm>
#include <map>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace fxfarm::cli {
namespace {

using namespace std::chrono_literals;
using monitoring::http_answer;
using monitoring::http_request;
using nlohmann::json;

constexpr const char* token = "0123456789abcdef";

class farm_page_test : public testing::Test {
protected:
  void open(const std::string& admin_token = "", page_reading reading = page_reading::everybody,
            const std::string& page_token = "") {
    farm_page_options options;
    options.admin_token = admin_token;
    options.page_token = page_token;
    options.reading = reading;
    options.now = [this] { return now; };
    options.probe = &metrics.page();
    page = std::make_unique<farm_page>(std::move(options));
    page->open([this](const question& q) {
      asked.push_back(q);
      return answer;
    });
  }
  http_answer send(const std::string& method, const std::string& path, http_request r) {
    for (const auto& route : page->routes()) {
      if (route.method == method && route.path == path) return route.answer(r);
    }
    ADD_FAILURE() << "no route " << method << " " << path;
    return {};
  }
  http_answer get(const std::string& path, std::map<std::string, std::string> parameters = {}) {
    return send("GET", path, {std::move(parameters)});
  }
  http_answer post(const std::string& path, const std::string& body, const std::string& authorization,
                   const std::string& type = "application/json") {
    return send("POST", path, {{}, type, authorization, body, "127.0.0.1"});
  }
  double counted(const std::string& name) { return metrics.snapshot()[name]; }

  time_point now{100s};
  result<std::string> answer{std::string("{}")};
  std::vector<question> asked;
  monitoring::metrics metrics{"1", "coordinator"};
  std::unique_ptr<farm_page> page;
};

std::string reason(const http_answer& a) {
  return json::parse(a.body).at("reason");
}

}  // namespace

TEST_F(farm_page_test, serves_its_files_and_none_of_them_lies_below_api) {
  open();
  const auto index = get("/");
  EXPECT_EQ(index.type, "text/html; charset=utf-8");
  EXPECT_TRUE(index.body.starts_with("<!doctype html>"));
  EXPECT_EQ(get("/page.css").type, "text/css; charset=utf-8");
  EXPECT_EQ(get("/page.js").type, "text/javascript; charset=utf-8");
  EXPECT_TRUE(get("/icon.svg").body.ends_with("</svg>\n"));
  // What the policy would not let through anyway.
  EXPECT_EQ(index.body.find("<style"), std::string::npos);
  EXPECT_EQ(index.body.find("style=\""), std::string::npos);
  EXPECT_EQ(index.body.find("http"), std::string::npos);
}

TEST_F(farm_page_test, answers_with_the_coordinators_document_and_asks_once_a_second) {
  open();
  answer = std::string(R"({"role":"coordinator"})");
  for (int i = 0; i < 10; ++i) EXPECT_EQ(get("/api/status").body, R"({"role":"coordinator"})");
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].what, "status");
  now += 1s;
  EXPECT_EQ(get("/api/status").status, 200);
  EXPECT_EQ(asked.size(), 2u);
  EXPECT_EQ(counted("page_questions_asked"), 2);
  EXPECT_EQ(counted("page_questions_shared"), 9);
}

TEST_F(farm_page_test, takes_the_options_of_graphs_as_parameters_and_bounds_how_many_are_shown) {
  open();
  EXPECT_EQ(get("/api/graphs").status, 200);
  EXPECT_EQ(asked.back().arguments.at("limit"), "50");
  EXPECT_EQ(get("/api/graphs", {{"state", "failed"}, {"name", "GPT"}, {"sort", "compile"}, {"limit", "500"}}).status,
            200);
  EXPECT_EQ(
      asked.back().arguments,
      (std::map<std::string, std::string>{
          {"state", "failed"}, {"name", "GPT"}, {"key", ""}, {"stage", ""}, {"sort", "compile"}, {"limit", "500"}}));
  const auto before = asked.size();
  EXPECT_EQ(reason(get("/api/graphs", {{"limit", "501"}})), "limit: want at most 500");
  EXPECT_EQ(get("/api/graphs", {{"limit", "0"}}).status, 400);
  EXPECT_EQ(get("/api/graphs", {{"sort", "size"}}).status, 400);
  EXPECT_EQ(reason(get("/api/graphs", {{"stat", "ready"}})), "unknown parameter \"stat\"; did you mean state?");
  EXPECT_EQ(asked.size(), before);
}

TEST_F(farm_page_test, refuses_parameters_that_it_does_not_know) {
  open();
  for (const char* path : {"status", "stats", "top", "graphs", "explain", "explain.txt", "admin"}) {
    const auto refused = get("/api/" + std::string(path), {{"colour", "x"}});
    EXPECT_EQ(refused.status, 400) << path;
    EXPECT_TRUE(reason(refused).starts_with("unknown parameter \"colour\"")) << path;
  }
  EXPECT_TRUE(asked.empty());
}

TEST_F(farm_page_test, tells_a_life_as_json_and_as_explain_prints_it_from_one_answer) {
  open();
  answer =
      std::string(R"({"name":"GPT2","graph_key":"abc","lookups":1,"age_seconds":1,"asked_seconds_ago":1,"spaces":[],)"
                  R"("stages":[],"events":[{"step":"queued","stage":"default","seconds":0.5}],"dropped":0})");
  EXPECT_EQ(get("/api/explain", {{"graph", "abc"}}).body, *answer);
  const auto text = get("/api/explain.txt", {{"graph", "abc"}});
  EXPECT_EQ(text.type, "text/plain; charset=utf-8");
  EXPECT_NE(text.body.find("default  queued"), std::string::npos) << text.body;
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].arguments.at("graph"), "abc");
}

TEST_F(farm_page_test, says_why_there_is_no_answer) {
  open();
  answer = error{errc::timeout, "the coordinator has not answered in time"};
  EXPECT_EQ(get("/api/top").status, 503);
  EXPECT_EQ(json::parse(get("/api/top").body),
            (json{{"code", "timeout"}, {"reason", "the coordinator has not answered in time"}}));
  answer = error{errc::not_found, "no graph"};
  EXPECT_EQ(get("/api/explain", {{"graph", "x"}}).status, 404);
  page->close();
  const auto away = get("/api/stats");
  EXPECT_EQ(away.status, 503);
  EXPECT_EQ(reason(away), "the coordinator is starting or stopping");
}

const std::vector<std::string> readable{"/api/status",  "/api/stats",       "/api/top",  "/api/graphs",
                                        "/api/explain", "/api/explain.txt", "/api/admin"};

TEST_F(farm_page_test, tells_nobody_anything_where_it_is_closed) {
  open("", page_reading::nobody);
  for (const auto& path : readable) {
    const auto denied = send("GET", path, {.authorization = std::string("Bearer ") + token});
    EXPECT_EQ(denied.status, 403) << path;
    EXPECT_NE(reason(denied).find("--page-token-file"), std::string::npos);
  }
  const auto files = monitoring::page_files();
  for (const auto& file : files) {
    const auto denied = get(file.name == "index.html" ? "/" : "/" + std::string(file.name));
    EXPECT_EQ(denied.status, 403) << file.name;
    EXPECT_TRUE(denied.body.starts_with("the status page is closed")) << denied.body;
  }
  EXPECT_EQ(post("/api/reset-stats", "{}", "Bearer ").status, 403);
  EXPECT_TRUE(asked.empty());
  EXPECT_EQ(counted("page_refusals_closed"), static_cast<double>(readable.size() + files.size()));
}

TEST_F(farm_page_test, tells_who_has_the_token_for_reading_or_the_one_for_actions) {
  const std::string other = "another-token-of-24-char";
  open(token, page_reading::bearers, other);
  EXPECT_EQ(get("/").status, 200) << "it is what asks for the token";
  for (const auto& path : readable) {
    EXPECT_EQ(get(path).status, 401) << path;
    EXPECT_EQ(send("GET", path, {.authorization = "Bearer " + other + "x"}).status, 401) << path;
  }
  EXPECT_TRUE(asked.empty());
  EXPECT_EQ(counted("page_refusals_no_token"), static_cast<double>(readable.size()));
  EXPECT_EQ(counted("page_refusals_wrong_token"), static_cast<double>(readable.size()));
  for (const auto& good : {other, std::string(token)}) {
    EXPECT_EQ(send("GET", "/api/status", {.authorization = "Bearer " + good}).status, 200);
    const auto told = json::parse(send("GET", "/api/admin", {.authorization = "Bearer " + good}).body);
    EXPECT_EQ(told.at("reading_wants_token"), true);
  }
  EXPECT_EQ(post("/api/drain", R"({"worker":"w"})", "Bearer " + other).status, 401) << "it is for reading alone";
  EXPECT_EQ(post("/api/check-token", "{}", std::string("Bearer ") + token).status, 200);
}

TEST_F(farm_page_test, allows_no_action_without_a_token_of_its_own_and_says_how_to_turn_them_on) {
  open();
  EXPECT_EQ(json::parse(get("/api/admin").body).at("enabled"), false);
  for (const auto action : admin_actions()) {
    const auto denied = post("/api/" + std::string(action), "{}", "Bearer ");
    EXPECT_EQ(denied.status, 403) << action;
    EXPECT_NE(reason(denied).find("--admin-token-file"), std::string::npos);
  }
  EXPECT_TRUE(asked.empty());
  EXPECT_EQ(counted("admin_actions_denied"), static_cast<double>(admin_actions().size()));
}

TEST_F(farm_page_test, denies_actions_to_whoever_does_not_know_the_token) {
  open(token);
  EXPECT_EQ(json::parse(get("/api/admin").body).at("enabled"), true);
  for (const std::string given : {"", "Bearer", "Bearer ", "Bearer 0123456789abcdeF", "Bearer 0123456789abcde",
                                  "Bearer 0123456789abcdef0", "Basic 0123456789abcdef", "0123456789abcdef"}) {
    EXPECT_EQ(post("/api/drain", R"({"worker":"w"})", given).status, 401) << given;
  }
  // What a form of another site could send.
  for (const char* type : {"", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"}) {
    EXPECT_EQ(post("/api/drain", R"({"worker":"w"})", std::string("Bearer ") + token, type).status, 415) << type;
  }
  EXPECT_TRUE(asked.empty());
  EXPECT_EQ(counted("admin_actions_denied"), 12);
}

TEST_F(farm_page_test, carries_an_action_out_and_shows_what_came_of_it_at_once) {
  open(token);
  get("/api/status");
  const auto bearer = std::string("Bearer ") + token;
  answer = std::string(R"({"worker":"w-1","draining":true,"busy":0})");
  EXPECT_EQ(post("/api/drain", R"({"worker":"w-1"})", bearer, "application/json; charset=utf-8").body, *answer);
  EXPECT_EQ(asked.back().what, "drain");
  EXPECT_EQ(asked.back().arguments, (std::map<std::string, std::string>{{"worker", "w-1"}}));
  EXPECT_EQ(post("/api/undrain", R"({"worker":"w-1"})", bearer).status, 200);
  EXPECT_EQ(asked.back().what, "undrain");
  EXPECT_EQ(post("/api/reset-stats", "{}", bearer).status, 200);
  EXPECT_EQ(asked.back().what, "reset-stats");
  EXPECT_EQ(post("/api/cache-rm", R"({"key":"0123456789"})", bearer).status, 200);
  EXPECT_EQ(asked.back().what, "forget");
  EXPECT_EQ(asked.back().arguments, (std::map<std::string, std::string>{{"key", "0123456789"}}));
  const auto before = asked.size();
  EXPECT_EQ(post("/api/check-token", "{}", bearer).status, 200);
  EXPECT_EQ(asked.size(), before);
  get("/api/status");
  EXPECT_EQ(asked.size(), before + 1);
  EXPECT_EQ(counted("admin_actions_done"), 5);
}

TEST_F(farm_page_test, refuses_a_body_that_is_not_what_the_action_wants) {
  open(token);
  const auto bearer = std::string("Bearer ") + token;
  for (const char* body :
       {"", "{}", "[]", "nonsense", R"({"worker":1})", R"({"worker":"w","more":1})", R"({"key":"w"})"}) {
    const auto refused = post("/api/drain", body, bearer);
    EXPECT_EQ(refused.status, 400) << body;
    EXPECT_EQ(reason(refused), R"(the body: want {"worker": "..."})");
  }
  EXPECT_EQ(post("/api/reset-stats", R"({"worker":"w"})", bearer).status, 400);
  EXPECT_TRUE(asked.empty());
  answer = error{errc::not_found, "no worker is called w"};
  EXPECT_EQ(post("/api/drain", R"({"worker":"w"})", bearer).status, 404);
  EXPECT_EQ(counted("admin_actions_failed"), 9);
}

}  // namespace fxfarm::cli
