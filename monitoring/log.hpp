#pragma once
// The log: lines on standard error, for people or as JSON. Thread-safe; before init, lines are for people from `info`
// on.

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace fxfarm::log {

enum class level { debug, info, warning, error, off };
enum class format { text, json };

// Nothing for a text that is no level, and `problem` names those that are.
std::optional<level> parse_level(std::string_view text, std::string& problem);
std::optional<format> parse_format(std::string_view text, std::string& problem);

// May be called again.
void init(level least, format how);

// Whether a line of that level is written: for lines that are costly to make.
bool enabled(level l);

// A named value of a line.
struct field {
  std::string_view name;
  std::string_view value;
};

// `message` and the values are UTF-8; control characters in them are escaped, so a line stays a line.
void debug(std::string_view message, std::initializer_list<field> fields = {});
void info(std::string_view message, std::initializer_list<field> fields = {});
void warning(std::string_view message, std::initializer_list<field> fields = {});
void error(std::string_view message, std::initializer_list<field> fields = {});

}  // namespace fxfarm::log
