#include "cli/protection.hpp"

#include "monitoring/log.hpp"
#include "runtime/limits.hpp"
#include "runtime/options.hpp"

#include <algorithm>
#include <chrono>

namespace fxfarm::cli {

result<std::optional<coordinator_keys>> open_keys(const coordinator_config& config) {
  if (config.server_key.empty()) return std::optional<coordinator_keys>();
  auto server = net::read_server_key(config.server_key);
  if (!server) return server.failure();
  auto book = key_book::open("authorized_keys", config.authorized_keys);
  if (!book) return book.failure();
  return std::optional(coordinator_keys{*std::move(server), *std::move(book)});
}

std::unique_ptr<chore> watch_keys(const std::shared_ptr<key_book>& book, monitoring::access_probe& probe,
                                  std::function<void()> changed) {
  const auto show = [&probe](const authorized_keys& keys) {
    probe.keys_now(static_cast<double>(keys.size()));
    probe.signers_now(static_cast<double>(keys.signers().size()));
    if (!keys.signers().empty()) return;
    log::warning(
        "no signer is authorized, so no artifact is accepted: workers' keys want lines (fxfarm keygen --signing)");
  };
  show(*book->keys());
  return std::make_unique<chore>(limits::authorized_keys_period, [book, show, &probe, changed = std::move(changed)] {
    const auto read = book->refresh(std::chrono::system_clock::now());
    if (!read) {
      probe.keys_read(false);
      log::error("authorized keys stay as they were", {{"why", read.failure().message}});
    } else if (*read) {
      const auto keys = book->keys();
      probe.keys_read(true);
      log::info("authorized keys have changed",
                {{"keys", std::to_string(keys->size())}, {"signers", std::to_string(keys->signers().size())}});
      show(*keys);
      changed();
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
