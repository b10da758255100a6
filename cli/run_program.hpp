#pragma once
// A program that is asked one thing and ends.

#include "runtime/error.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace fxfarm::cli {

// Standard output of the program, at most limits::report_bytes_max of it. Errors: not_found when there is no such
// program, io when it ends with a status other than 0 or cannot be started, with the last line of what it said on
// standard error; timeout, and then it has been killed.
result<std::string> run_program(const std::vector<std::string>& argv, std::chrono::milliseconds within);

}  // namespace fxfarm::cli
