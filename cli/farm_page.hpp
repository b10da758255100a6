#pragma once
// The status page of a coordinator: its files, what they ask for under /api/, and, with a token, what an operator may
// do there. What it shows is what the commands show with --json.

#include "cli/operator_client.hpp"
#include "cli/page_access.hpp"
#include "monitoring/http.hpp"
#include "monitoring/metrics.hpp"
#include "runtime/error.hpp"
#include "runtime/shared_answers.hpp"
#include "runtime/time_point.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm::cli {

struct farm_page_options {
  std::string admin_token;  // empty: actions are off
  std::string page_token;   // empty: none but that one lets read where a token is wanted
  page_reading reading = page_reading::everybody;
  std::function<time_point()> now = [] { return std::chrono::steady_clock::now(); };
  monitoring::page_probe* probe = nullptr;  // outlives the page
};

// Thread-safe.
class farm_page {
public:
  // Answers within a bound, on the caller's thread.
  using asker = std::function<result<std::string>(const question&)>;

  explicit farm_page(farm_page_options options);

  // They refer to this page, which must outlive whoever serves them.
  monitoring::http_routes routes();

  // From now on the coordinator can be asked.
  void open(asker ask);
  // Waits for those that ask; afterwards nobody does.
  void close();

private:
  using request = monitoring::http_request;
  using answer = monitoring::http_answer;

  result<std::string> ask(const question& q);
  // As others have just been told, or anew.
  result<std::string> look(const question& q);

  answer show(const request& r, std::string_view what);
  answer show_top(const request& r);
  answer show_graphs(const request& r);
  answer show_life(const request& r, bool as_text);

  // Nothing when it may be read.
  std::optional<answer> deny_reading(const request& r);
  void log_denial(std::string_view what, const request& r, int status);

  // --- in farm_page_admin.cpp ---
  answer tell_admin(const request& r) const;
  // One of the actions there.
  answer act(const request& r, std::string_view action);
  // Nothing when it may be done.
  std::optional<answer> deny(const request& r, std::string_view action);
  answer carry_out(const request& r, std::string_view action);

  const farm_page_options options_;
  shared_answers answers_;
  std::atomic<bool> is_open_ = false;  // beside the lock, so that `close` need not wait for those who come later
  std::shared_mutex opening_;          // shared by those who ask
  asker ask_;                          // guarded by opening_
  std::mutex acting_;                  // one action at a time
  std::mutex denying_;                 // guards what follows
  std::optional<time_point> denial_logged_;
};

// The routes of the actions, by what they are called: {"drain", ...}.
std::vector<std::string_view> admin_actions();

// What is not among `known` was meant to say something: better to refuse it than to show too much. Errors: bad_input.
result<void> check_parameters(const monitoring::http_request& r, const std::vector<std::string>& known);

// {"code": ..., "reason": ...} under the status that fits.
monitoring::http_answer failure_answer(const error& why);

}  // namespace fxfarm::cli
