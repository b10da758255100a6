#include "cli/roles.hpp"

namespace fxfarm::cli {
namespace {

error not_built_in() {
  return {errc::internal, "this role is not built in"};
}

}  // namespace

result<void> run_coordinator(const coordinator_config&) {
  return not_built_in();
}

result<void> run_worker(const worker_config&) {
  return not_built_in();
}

result<void> run_local(const local_config&) {
  return not_built_in();
}

}  // namespace fxfarm::cli
