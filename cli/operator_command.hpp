#pragma once
// The common shape of the commands that ask a coordinator: configuration, question, answer as JSON or as text.

#include "cli/commands.hpp"
#include "cli/operator_client.hpp"
#include "runtime/config.hpp"
#include "runtime/error.hpp"

#include <functional>
#include <string>

namespace fxfarm::cli {

using renderer = std::function<result<std::string>(const std::string& document)>;

// The endpoint that was given, else that of the one local farm of this user, which has no keys. Errors: unreachable
// when there is none, bad_config when there are several or a key cannot be read.
result<farm_address> farm_of(const client_config& config, const config_inputs& in);

// Asks, and prints the answer.
exit_code run_question(const command& self, const client_config& config, const config_inputs& in, question q,
                       const renderer& render);

// For a command whose options are the client's and whose name is the question.
exit_code run_operator(const command& self, const arguments& args, const renderer& render);

// Prints a document, as it is or rendered.
exit_code print_answer(const command& self, const client_config& config, const std::string& document,
                       const renderer& render);

}  // namespace fxfarm::cli
