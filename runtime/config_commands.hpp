#pragma once
// The options that one command alone has, for one call. Only for config.cpp.

#include "runtime/config.hpp"

namespace fxfarm {

void declare_own(option_set& o, graphs_config& c);
void declare_own(option_set& o, top_config& c);
void declare_own(option_set& o, cache_config& c);
void declare_own(option_set& o, doctor_config& c);
void declare_own(option_set& o, warm_config& c);

}  // namespace fxfarm
