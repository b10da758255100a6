#include "cli/commands.hpp"
#include "runtime/config.hpp"

#include <iostream>

namespace fxfarm::cli {

exit_code options_reference_command(const command&, const arguments&) {
  std::cout << options_reference();
  return exit_ok;
}

}  // namespace fxfarm::cli
