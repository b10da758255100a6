#include "runtime/client_types.hpp"

namespace fxfarm {

std::string_view to_string(stage_state s) {
  switch (s) {
    case stage_state::waiting:
      return "waiting";
    case stage_state::queued:
      return "queued";
    case stage_state::running:
      return "running";
    case stage_state::fetched:
      return "fetched";
    case stage_state::loaded:
      return "loaded";
    case stage_state::failed:
      return "failed";
    case stage_state::superseded:
      return "superseded";
    case stage_state::rolled_back:
      return "rolled_back";
  }
  return "unknown";
}

}  // namespace fxfarm
