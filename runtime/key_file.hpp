#pragma once
// The form that files with keys have: `name = "value"`, one to a line.

#include <string>
#include <string_view>

namespace fxfarm {

// What stands behind `name = ` in a line of its own, with or without quotes; empty when there is no such line.
std::string key_file_value(std::string_view name, std::string_view text);

}  // namespace fxfarm
