#include "cli/operator_client.hpp"
#include "fxfarm_version.hpp"
#include "net/dialer.hpp"
#include "runtime/limits.hpp"
#include "runtime/paths.hpp"
#include "runtime/process_id.hpp"

#include <unistd.h>

namespace fxfarm::cli {

result<std::string> ask_coordinator(const farm_address& farm, question q) {
  operator_client client(farm.endpoint);
  net::dialer_options options;
  options.self.role = "operator";
  options.self.host = host_name();
  options.self.pid = static_cast<std::uint64_t>(::getpid());
  options.self.id = process_id("operator-" + options.self.host);
  options.self.build = build_text;
  options.keys = farm.keys;
  auto link =
      net::dialer::start(std::move(options), [&](net::inbound_batch batch) { client.receive(std::move(batch)); });
  if (!link) return link.failure();
  (*link)->connect(farm.endpoint);
  return client.ask(**link, std::move(q), limits::operator_reply_max);
}

}  // namespace fxfarm::cli
