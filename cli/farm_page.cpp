#include "cli/farm_page.hpp"

#include "cli/graphs_question.hpp"
#include "cli/render.hpp"
#include "cli/render_top.hpp"
#include "monitoring/log.hpp"
#include "monitoring/page.hpp"
#include "runtime/config_commands.hpp"

#include <nlohmann/json.hpp>

namespace fxfarm::cli {
namespace {

using monitoring::http_answer;
using monitoring::http_request;
using nlohmann::json;

// The other half is for files, scrapers and health checks; one is for an action.
static_assert(limits::page_asking_max + limits::page_joining_max + 1 <= monitoring::http_threads / 2);

constexpr const char* why_closed =
    "the status page is closed: its address leaves this host, and it has no token; start the coordinator with "
    "--page-token-file FILE, have it listen on loopback and use a tunnel, or let everybody read it with --insecure";

constexpr const char* json_type = "application/json; charset=utf-8";

int status_of(errc code) {
  switch (code) {
    case errc::bad_input:
    case errc::bad_config:
      return 400;
    case errc::refused:
      return 403;
    case errc::not_found:
      return 404;
    case errc::busy:
    case errc::timeout:
    case errc::unreachable:
    case errc::shutdown:
      return 503;
    default:
      return 500;
  }
}

http_answer as_json(const result<std::string>& document) {
  if (!document) return failure_answer(document.failure());
  return {200, json_type, *document};
}

// The options of `fxfarm graphs`, as parameters.
result<graphs_config> graphs_wanted(const http_request& r) {
  graphs_config wanted;
  option_set options;
  declare_own(options, wanted);
  if (auto checked = check_parameters(r, options.names()); !checked) return checked.failure();
  for (const auto& [name, value] : r.parameters) {
    const auto* o = options.find(name);
    // As on a page's form, an empty value stands for none.
    if (value.empty() || o->assign(value)) continue;
    return {errc::bad_input, name + ": want " + o->allowed};
  }
  if (wanted.limit <= limits::page_graphs_max) return wanted;
  return {errc::bad_input, "limit: want at most " + std::to_string(limits::page_graphs_max)};
}

// What makes two questions the same.
std::string key_of(const question& q) {
  std::string key = q.what;
  for (const auto& [name, value] : q.arguments) key += '\0' + name + '\0' + value;
  return key;
}

}  // namespace

result<void> check_parameters(const http_request& r, const std::vector<std::string>& known) {
  for (const auto& [name, value] : r.parameters) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return {errc::bad_input, "unknown parameter \"" + name + "\"" + did_you_mean(name, known)};
    }
  }
  return {};
}

http_answer failure_answer(const error& why) {
  const json body{{"code", to_string(why.code)}, {"reason", why.message}};
  return {status_of(why.code), json_type, body.dump(-1, ' ', false, json::error_handler_t::replace)};
}

farm_page::farm_page(farm_page_options options)
    : options_(std::move(options)), answers_([this] {
        shared_answers_options sharing;
        sharing.now = options_.now;
        if (options_.probe != nullptr) {
          sharing.told = [probe = options_.probe](std::string_view outcome) { probe->questioned(outcome); };
        }
        return sharing;
      }()) {}

monitoring::http_routes farm_page::routes() {
  // The page's own files tell nothing, and ask for the token; those of a page that nobody may read are of no use.
  auto all = monitoring::page_routes();
  if (options_.reading == page_reading::nobody) {
    for (auto& file : all) {
      file.answer = [this](const request& r) {
        return answer{deny_reading(r)->status, "text/plain; charset=utf-8", std::string(why_closed) + '\n'};
      };
    }
  }
  const auto get = [&](const char* path, monitoring::http_handler how) {
    all.push_back({"GET", path, [this, how = std::move(how)](const request& r) {
                     auto denied = deny_reading(r);
                     return denied ? *std::move(denied) : how(r);
                   }});
  };
  get("/api/status", [this](const request& r) { return show(r, "status"); });
  get("/api/stats", [this](const request& r) { return show(r, "stats"); });
  get("/api/top", [this](const request& r) { return show_top(r); });
  get("/api/graphs", [this](const request& r) { return show_graphs(r); });
  get("/api/explain", [this](const request& r) { return show_life(r, false); });
  get("/api/explain.txt", [this](const request& r) { return show_life(r, true); });
  get("/api/admin", [this](const request& r) { return tell_admin(r); });
  for (const auto action : admin_actions()) {
    all.push_back({"POST", "/api/" + std::string(action), [this, action](const request& r) { return act(r, action); }});
  }
  return all;
}

std::optional<http_answer> farm_page::deny_reading(const request& r) {
  if (options_.reading == page_reading::everybody) return std::nullopt;
  std::optional<http_answer> denied;
  std::string_view reason = "closed";
  if (options_.reading == page_reading::nobody) {
    denied = failure_answer({errc::refused, why_closed});
  } else if (!bears(r.authorization, options_.page_token) && !bears(r.authorization, options_.admin_token)) {
    reason = lack_of_token(r.authorization);
    denied = failure_answer(
        {errc::refused, "want Authorization: Bearer, with the token of --page-token-file or --admin-token-file"});
    denied->status = 401;
  }
  if (!denied) return std::nullopt;
  if (options_.probe != nullptr) options_.probe->refused(reason);
  // A browser that knows no token yet asks without one.
  if (reason == "wrong_token") log_denial("reading", r, denied->status);
  return denied;
}

// Whoever tries many tokens fills no disk; the metrics have them all.
void farm_page::log_denial(std::string_view what, const request& r, int status) {
  std::lock_guard lock(denying_);
  const auto now = options_.now();
  if (denial_logged_ && now - *denial_logged_ < limits::admin_denials_logged) return;
  denial_logged_ = now;
  log::warning("an action of the status page was denied",
               {{"action", what}, {"from", r.peer}, {"status", std::to_string(status)}});
}

void farm_page::open(asker ask) {
  std::unique_lock lock(opening_);
  ask_ = std::move(ask);
  is_open_ = true;
}

void farm_page::close() {
  is_open_ = false;
  std::unique_lock lock(opening_);
  ask_ = nullptr;
}

result<std::string> farm_page::ask(const question& q) {
  const error away{errc::unreachable, "the coordinator is starting or stopping"};
  if (!is_open_) return away;
  std::shared_lock lock(opening_);
  return ask_ ? ask_(q) : result<std::string>(away);
}

result<std::string> farm_page::look(const question& q) {
  return *answers_.get(key_of(q), [&] { return ask(q); });
}

http_answer farm_page::show(const request& r, std::string_view what) {
  if (auto checked = check_parameters(r, {}); !checked) return failure_answer(checked.failure());
  return as_json(look({std::string(what)}));
}

http_answer farm_page::show_top(const request& r) {
  if (auto checked = check_parameters(r, {}); !checked) return failure_answer(checked.failure());
  auto document = look({"top"});
  if (!document) return failure_answer(document.failure());
  auto seen = look_at_farm(*document, {});
  if (!seen) return failure_answer(seen.failure());
  return {200, json_type, std::move(seen->document)};
}

http_answer farm_page::show_graphs(const request& r) {
  const auto wanted = graphs_wanted(r);
  if (!wanted) return failure_answer(wanted.failure());
  return as_json(look(question_of(*wanted)));
}

http_answer farm_page::show_life(const request& r, bool as_text) {
  if (auto checked = check_parameters(r, {"graph"}); !checked) return failure_answer(checked.failure());
  const auto graph = r.parameters.find("graph");
  auto document = look({"explain", {{"graph", graph == r.parameters.end() ? "" : graph->second}}});
  if (!as_text || !document) return as_json(document);
  auto text = render_explanation(*document);
  if (!text) return failure_answer(text.failure());
  return {200, "text/plain; charset=utf-8", *std::move(text)};
}

}  // namespace fxfarm::cli
