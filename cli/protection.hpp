#pragma once
// What a role does for its links' safety while it runs: keeps the authorized keys as their file is, or warns that
// nothing protects it.

#include "monitoring/metrics.hpp"
#include "net/curve.hpp"
#include "net/router.hpp"
#include "runtime/chore.hpp"
#include "runtime/config.hpp"
#include "runtime/error.hpp"
#include "runtime/key_book.hpp"
#include "runtime/signature_check.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fxfarm::cli {

struct coordinator_keys {
  key_pair server;
  std::shared_ptr<key_book> book;

  net::accepting accept() const {
    return {server.secret_key, [book = book] { return book->keys(); }};
  }
  std::shared_ptr<const signature_check> signatures() const {
    return std::make_shared<const signature_check>([book = book] { return book->keys(); });
  }
};
// Nothing when keys are off. Errors: bad_config.
result<std::optional<coordinator_keys>> open_keys(const coordinator_config& config);

// Looks at the file from time to time; `changed` hears of other keys, on a thread of the watch's own.
std::unique_ptr<chore> watch_keys(const std::shared_ptr<key_book>& book, monitoring::access_probe& probe,
                                  std::function<void()> changed);

// Warns at once and every minute, and shows it in the metrics, when one of the endpoints leaves this host and there are
// no keys; else null.
std::unique_ptr<chore> warn_if_open(const std::vector<std::string>& endpoints, bool has_keys,
                                    monitoring::metrics& metrics);

}  // namespace fxfarm::cli
