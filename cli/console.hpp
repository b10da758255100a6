#pragma once
// What every command says to its user, in one form.

#include "cli/commands.hpp"
#include "runtime/error.hpp"

#include <string_view>

namespace fxfarm::cli {

// Prints "fxfarm <command>: <what>" to stderr and gives the matching exit code: 2 for a command line or configuration
// that cannot be used, 1 for anything else.
exit_code fail(std::string_view command_name, const error& why);

// `--help` of a command.
exit_code print_help(const command& c);

// For commands without options: `--help`, or no argument at all. Nothing: go on.
bool wants_only_help(const arguments& args);

}  // namespace fxfarm::cli
