#include "cli/page_access.hpp"

#include "monitoring/log.hpp"
#include "runtime/digest.hpp"
#include "runtime/limits.hpp"
#include "runtime/options.hpp"

namespace fxfarm::cli {
namespace {

constexpr std::string_view scheme = "Bearer ";

bool leaves_host(std::string_view address) {
  return !stays_on_host("tcp://" + std::string(address));
}

}  // namespace

page_reading reading_at(std::string_view address, bool has_page_token, bool has_admin_token, bool insecure) {
  if (has_page_token) return page_reading::bearers;
  if (insecure || !leaves_host(address)) return page_reading::everybody;
  return has_admin_token ? page_reading::bearers : page_reading::nobody;
}

bool bears(std::string_view authorization, std::string_view token) {
  return !token.empty() && authorization.starts_with(scheme) &&
         equal_secrets(authorization.substr(scheme.size()), token);
}

std::string_view lack_of_token(std::string_view authorization) {
  return authorization.empty() ? "no_token" : "wrong_token";
}

monitoring::http_gate metrics_gate(std::string token, monitoring::page_probe& probe) {
  if (token.empty()) return {};
  return [token = std::move(token), &probe](const monitoring::http_request& r) {
    std::optional<monitoring::http_answer> denied;
    if (bears(r.authorization, token)) return denied;
    probe.refused(lack_of_token(r.authorization));
    denied = {401, "text/plain", "want Authorization: Bearer, with the token of --metrics-token-file\n"};
    return denied;
  };
}

std::unique_ptr<chore> warn_if_page_is_open(const farm_config& farm, const std::string& address, bool insecure,
                                            monitoring::metrics& metrics) {
  if (address.empty() || !leaves_host(address)) return nullptr;
  switch (reading_at(address, !farm.page_token_file.empty(), !farm.admin_token_file.empty(), insecure)) {
    case page_reading::bearers:
      return nullptr;
    case page_reading::nobody:
      log::warning("the status page is closed: its address leaves this host, and it has no token (--page-token-file)",
                   {{"metrics", address}});
      return nullptr;
    case page_reading::everybody:
      break;
  }
  metrics.insecure_now(true);
  const auto warn = [address] {
    log::warning(
        "insecure: whoever reaches the status page reads the names of all graphs and hosts; give it a token "
        "(--page-token-file)",
        {{"metrics", address}});
  };
  warn();
  return std::make_unique<chore>(limits::insecure_warning_period, warn);
}

}  // namespace fxfarm::cli
