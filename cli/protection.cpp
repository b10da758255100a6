#include "cli/protection.hpp"

#include "monitoring/log.hpp"
#include "runtime/limits.hpp"
#include "runtime/options.hpp"

#include <algorithm>

namespace fxfarm::cli {

result<std::optional<coordinator_keys>> open_keys(const coordinator_config& config) {
  if (config.server_key.empty()) return std::optional<coordinator_keys>();
  auto server = net::read_server_key(config.server_key);
  if (!server) return server.failure();
  auto book = key_book::open(config.authorized_keys);
  if (!book) return book.failure();
  return std::optional(coordinator_keys{*std::move(server), *std::move(book)});
}

std::unique_ptr<chore> watch_keys(const std::shared_ptr<key_book>& book, const std::shared_ptr<net::router>& who,
                                  monitoring::access_probe& probe) {
  probe.keys_now(static_cast<double>(book->keys()->size()));
  return std::make_unique<chore>(limits::authorized_keys_period, [book, who, &probe] {
    const auto changed = book->refresh();
    if (!changed) {
      probe.keys_read(false);
      log::error("authorized keys stay as they were", {{"why", changed.failure().message}});
    } else if (*changed) {
      const auto count = book->keys()->size();
      probe.keys_read(true);
      probe.keys_now(static_cast<double>(count));
      log::info("authorized keys have changed", {{"keys", std::to_string(count)}});
      who->recheck();
    }
  });
}

std::unique_ptr<chore> warn_if_open(const std::vector<std::string>& endpoints, bool has_keys,
                                    monitoring::metrics& metrics) {
  const auto open = std::find_if_not(endpoints.begin(), endpoints.end(), stays_on_host);
  if (has_keys || open == endpoints.end()) return nullptr;
  metrics.insecure_now(true);
  const auto warn = [endpoint = *open] {
    log::warning(
        "insecure: what goes over the network is neither encrypted nor checked, and whoever reaches it may run "
        "code here; give it keys (fxfarm keygen)",
        {{"endpoint", endpoint}});
  };
  warn();
  return std::make_unique<chore>(limits::insecure_warning_period, warn);
}

}  // namespace fxfarm::cli
