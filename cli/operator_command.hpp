#pragma once
// The common shape of the commands that ask a coordinator: configuration, question, answer as JSON or as text.

#include "cli/commands.hpp"
#include "runtime/error.hpp"

#include <string>

namespace fxfarm::cli {

// The command's name is the question.
exit_code run_operator(const command& self, const arguments& args, result<std::string> (*render)(const std::string&));

}  // namespace fxfarm::cli
