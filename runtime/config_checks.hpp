#pragma once
// Checks across options: what goes over a network is protected, or somebody has said that it need not be. Internal to
// config.

#include "runtime/config.hpp"

namespace fxfarm::config_checks {

using values = std::map<std::string, config_value>;

result<void> listening(const coordinator_config& c, const values& v);
// `name`: of the option that `endpoints` come from.
result<void> link(const link_config& c, const std::vector<std::string>& endpoints, const std::string& name,
                  const values& v);
// A worker whose coordinators know it by a key signs what it makes.
result<void> signing(const worker_config& c, const values& v);
result<void> redis(const redis_config& c, const values& v);

}  // namespace fxfarm::config_checks
