#pragma once
// The tier that coordinators share, from the options of one.

#include "monitoring/metrics.hpp"
#include "runtime/config.hpp"
#include "runtime/shared_tier.hpp"

#include <memory>

namespace fxfarm::cli {

// What happens in a tier goes to its probe and to the log.
store_reporter report_to(monitoring::store_probe& probe);

// Null when no Redis is configured. Whether it is there shows later: a farm starts without it. Errors: bad_config
// naming the option whose file cannot be used. `signatures`, `only_reads`: as in shared_tier_options.
result<std::shared_ptr<shared_tier>> open_shared_tier(const redis_config& config, monitoring::metrics& metrics,
                                                      std::shared_ptr<const signature_check> signatures,
                                                      bool only_reads);

// Whether the configured Redis answers. Errors: bad_config as above; unreachable, timeout, refused.
result<void> ping_redis(const redis_config& config);
// Its URL without a password.
std::string shown_url(const redis_config& config);

}  // namespace fxfarm::cli
