#pragma once
// Finds out, once in a worker's life, whether engines can be put into a sandbox.

#include "runtime/config.hpp"
#include "runtime/sandbox.hpp"

#include <memory>
#include <string>
#include <vector>

namespace fxfarm::cli {

struct engine_room {
  std::shared_ptr<const sandbox> box;  // null: none
  std::string python;                  // that runs engines there
  std::string why_none;                // why there is none though one was wanted
  std::string python_user_base;        // where Python looks for its user's packages; empty: not known

  std::string kind() const { return box ? "bubblewrap" : "none"; }
  // For people.
  std::string told() const { return kind() + (why_none.empty() ? "" : ": " + why_none); }
};

// `secrets` are files and directories that engines must not see, wherever they lie. Errors: `refused` when a sandbox is
// wanted and cannot be had.
result<engine_room> open_engine_room(const engine_config& config, const std::vector<std::string>& secrets);

}  // namespace fxfarm::cli
