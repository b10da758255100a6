#pragma once
// The options that roles and the commands of clients share, each with its help and what it may be. Only for config.cpp.

#include "runtime/config.hpp"

namespace fxfarm {

void declare(option_set& o, common_config& c);
void declare(option_set& o, link_config& c);
void declare(option_set& o, coordinator_config& c);
void declare(option_set& o, worker_config& c);
void declare(option_set& o, local_config& c);
void declare(option_set& o, client_config& c);

}  // namespace fxfarm
