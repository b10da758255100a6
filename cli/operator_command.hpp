#pragma once
// The common shape of the commands that ask a coordinator: configuration, question, answer as JSON or as text.

#include "cli/commands.hpp"
#include "cli/operator_client.hpp"
#include "runtime/error.hpp"

#include <string>

namespace fxfarm::cli {

using renderer = result<std::string> (*)(const std::string& document);

exit_code run_operator(const command& self, const arguments& args, question q, renderer render);
// The command's name is the question.
exit_code run_operator(const command& self, const arguments& args, renderer render);

}  // namespace fxfarm::cli
