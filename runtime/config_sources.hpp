#pragma once
// Where configuration comes from: arguments, variables, the TOML file. Each source yields texts with the place they
// stood at; config.cpp merges them.

#include "runtime/config.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm::sources {

using found_values = std::map<std::string, config_value>;  // by option name

// Tables of the file and the option names that they allow; "" is the top level.
using table_names = std::map<std::string, std::vector<std::string>, std::less<>>;

// FXFARM_* variables, and keys of [client], that belong to the Python package. They are checked there.
const std::vector<std::string>& python_options();

// True when --help is among the arguments, whatever else is.
bool wants_help(const std::vector<std::string>& arguments);
// Arguments that no option takes go to `operands`, at most `operands_max`.
result<found_values> from_arguments(const std::vector<std::string>& arguments, const option_set& options,
                                    unsigned operands_max, std::vector<std::string>& operands);
// `known`: the options of every role, so that a variable meant for another role is no error.
result<found_values> from_environment(const environment& env, const option_set& options,
                                      const std::vector<std::string>& known);
// Values of the top level and of `table`. The whole text is checked, other tables too.
result<found_values> from_toml(const std::string& text, const std::string& file, const option_set& options,
                               std::string_view table, const table_names& allowed);

}  // namespace fxfarm::sources
