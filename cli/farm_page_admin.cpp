// What an operator may do by way of the status page, and who counts as one.

#include "cli/farm_page.hpp"
#include "monitoring/log.hpp"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

namespace fxfarm::cli {
namespace {

using monitoring::http_answer;
using nlohmann::json;

constexpr const char* how_to_turn_on =
    "actions are off: start the coordinator with --admin-token-file FILE to allow them to whoever knows its content";

struct admin_action {
  std::string_view name;      // of the route
  std::string_view question;  // to the coordinator; empty: none
  std::string_view argument;  // that the body has to have; empty: none
};
constexpr std::array actions{admin_action{"drain", "drain", "worker"}, admin_action{"undrain", "undrain", "worker"},
                             admin_action{"reset-stats", "reset-stats", ""}, admin_action{"cache-rm", "forget", "key"},
                             admin_action{"check-token", "", ""}};

const admin_action& find_action(std::string_view name) {
  return *std::find_if(actions.begin(), actions.end(), [&](const admin_action& a) { return a.name == name; });
}

// The one argument that the action has.
result<question> question_from(const admin_action& action, const std::string& body) {
  const auto given = json::parse(body, nullptr, false);
  const std::string argument(action.argument);
  const bool fits =
      given.is_object() &&
      (argument.empty() ? given.empty() : given.size() == 1 && given.contains(argument) && given[argument].is_string());
  if (!fits)
    return {errc::bad_input, "the body: want " + (argument.empty() ? "{}" : "{\"" + argument + "\": \"...\"}")};
  question q{std::string(action.question)};
  if (!argument.empty()) q.arguments.emplace(argument, given[argument].get<std::string>());
  return q;
}

bool is_json(const std::string& content_type) {
  return content_type == "application/json" || content_type.starts_with("application/json;");
}

}  // namespace

std::vector<std::string_view> admin_actions() {
  std::vector<std::string_view> names;
  for (const auto& a : actions) names.push_back(a.name);
  return names;
}

http_answer farm_page::tell_admin(const request& r) const {
  if (auto checked = check_parameters(r, {}); !checked) return failure_answer(checked.failure());
  const bool on = !options_.admin_token.empty();
  const json told{{"enabled", on},
                  {"reason", on ? "" : how_to_turn_on},
                  {"reading_wants_token", options_.reading == page_reading::bearers}};
  return {200, "application/json; charset=utf-8", told.dump()};
}

// Another site's page cannot send either header without being allowed to, which nobody is.
std::optional<http_answer> farm_page::deny(const request& r, std::string_view action) {
  std::optional<http_answer> denied;
  if (options_.admin_token.empty()) {
    denied = failure_answer({errc::refused, how_to_turn_on});
  } else if (!is_json(r.content_type)) {
    denied = failure_answer({errc::bad_input, "want Content-Type: application/json"});
    denied->status = 415;
  } else if (!bears(r.authorization, options_.admin_token)) {
    denied = failure_answer({errc::refused, "want Authorization: Bearer, with the token of --admin-token-file"});
    denied->status = 401;
  }
  if (!denied) return std::nullopt;
  if (options_.probe != nullptr) options_.probe->acted(action, "denied");
  log_denial(action, r, denied->status);
  return denied;
}

http_answer farm_page::act(const request& r, std::string_view action) {
  if (auto denied = deny(r, action)) return *std::move(denied);
  auto done = carry_out(r, action);
  const bool good = done.status == 200;
  if (options_.probe != nullptr) options_.probe->acted(action, good ? "done" : "failed");
  log::info(good ? "an action of the status page" : "an action of the status page failed",
            {{"action", action}, {"from", r.peer}, {"asked", r.body}, {"answer", done.body}});
  return done;
}

http_answer farm_page::carry_out(const request& r, std::string_view name) {
  const auto& action = find_action(name);
  const auto q = question_from(action, r.body);
  if (!q) return failure_answer(q.failure());
  std::string document = "{}";
  if (!q->what.empty()) {
    // So that no more of the server's threads wait for the coordinator than may.
    const std::unique_lock turn(acting_, std::try_to_lock);
    if (!turn.owns_lock()) return failure_answer({errc::busy, "another action is under way"});
    auto done = ask(*q);
    // Also when it failed: it may have come too late only.
    answers_.forget();
    if (!done) return failure_answer(done.failure());
    document = *std::move(done);
  }
  return {200, "application/json; charset=utf-8", std::move(document)};
}

}  // namespace fxfarm::cli
