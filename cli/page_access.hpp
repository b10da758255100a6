#pragma once
// Who may read the status page and the metrics of a process. Names of graphs and hosts are on the page, of all
// namespaces; whoever opens it to other hosts says who is to see them.

#include "monitoring/http.hpp"
#include "monitoring/metrics.hpp"
#include "runtime/chore.hpp"
#include "runtime/config.hpp"
#include "runtime/error.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace fxfarm::cli {

enum class page_reading {
  everybody,  // who reaches it
  bearers,    // of the page's token, or the one for actions
  nobody,     // it has left the host, and nobody has said who
};

// `address`: "host:port" of the metrics. `insecure`: somebody has said that what leaves the host need not be protected.
page_reading reading_at(std::string_view address, bool has_page_token, bool has_admin_token, bool insecure);

// Whether an Authorization header carries this token; nobody has an empty one.
bool bears(std::string_view authorization, std::string_view token);
// "no_token" or "wrong_token", as they are counted.
std::string_view lack_of_token(std::string_view authorization);

// Asks for a token where /metrics has one; null where it has none. `probe` outlives it.
monitoring::http_gate metrics_gate(std::string token, monitoring::page_probe& probe);

// Warns every so often while whoever reaches an address beyond this host reads the page; null where nobody does.
std::unique_ptr<chore> warn_if_page_is_open(const farm_config& farm, const std::string& address, bool insecure,
                                            monitoring::metrics& metrics);

}  // namespace fxfarm::cli
