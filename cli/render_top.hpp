#pragma once
// One look at a farm at work, for `fxfarm top`.

#include "runtime/error.hpp"

#include <string>

namespace fxfarm::cli {

struct farm_look {
  std::string document;  // the answer, with `rates`
  std::string text;
};

// `document` answers the question "top"; `before` is an earlier answer, from which rates are made, or empty: then there
// are none, and counters are shown as they are. Errors: protocol.
result<farm_look> look_at_farm(const std::string& document, const std::string& before);

}  // namespace fxfarm::cli
