#pragma once
// `fxfarm graphs` as the coordinator is asked for it.

#include "cli/operator_client.hpp"
#include "runtime/config.hpp"

namespace fxfarm::cli {

inline question question_of(const graphs_config& c) {
  return {"graphs",
          {{"state", c.state},
           {"name", c.name},
           {"key", c.key},
           {"stage", c.stage},
           {"sort", c.sort},
           {"limit", std::to_string(c.limit)}}};
}

}  // namespace fxfarm::cli
