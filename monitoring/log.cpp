#include "monitoring/log.hpp"

#include <array>
#include <atomic>
#include <memory>
#include <mutex>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace fxfarm::log {
namespace {

constexpr std::array<std::string_view, 5> level_names{"debug", "info", "warning", "error", "off"};
constexpr std::array<std::string_view, 2> format_names{"text", "json"};

template <class Enum, std::size_t N>
std::optional<Enum> parse(std::string_view text, const std::array<std::string_view, N>& names, std::string_view what,
                          std::string& problem) {
  std::string allowed;
  for (std::size_t i = 0; i < N; ++i) {
    if (names[i] == text) return static_cast<Enum>(i);
    allowed.append(i == 0 ? "" : ", ").append(names[i]);
  }
  problem = "'" + std::string(text) + "' is no log " + std::string(what) + ": " + allowed + " are";
  return std::nullopt;
}

spdlog::level::level_enum to_spdlog(level l) {
  constexpr std::array levels{spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err,
                              spdlog::level::off};
  return levels[static_cast<std::size_t>(l)];
}

struct logger {
  logger(level least, format f) : how(f), out("fxfarm", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    out.set_level(to_spdlog(least));
    out.set_pattern(how == format::json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})"
                                        : "%Y-%m-%d %H:%M:%S.%e %l %v");
  }

  const format how;
  spdlog::logger out;
};

// Replaced as a whole by init, so that a line in the making keeps the logger that it began with.
struct current_logger {
  std::mutex mutex;
  std::shared_ptr<logger> in_use = std::make_shared<logger>(level::info, format::text);
};

current_logger& current() {
  static auto* const one = new current_logger;  // never destroyed: threads may log while the program ends
  return *one;
}

std::shared_ptr<logger> get() {
  auto& c = current();
  std::lock_guard lock(c.mutex);
  return c.in_use;
}

// As the inside of a JSON string.
void append_escaped(std::string& line, std::string_view text, bool quotes_too) {
  constexpr std::string_view hex = "0123456789abcdef";
  for (const char c : text) {
    if (quotes_too && (c == '"' || c == '\\')) {
      line.append(1, '\\').append(1, c);
    } else if (c == '\n') {
      line += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      line.append("\\u00").append(1, hex[static_cast<unsigned char>(c) >> 4]).append(1, hex[c & 15]);
    } else {
      line += c;
    }
  }
}

void append_quoted(std::string& line, std::string_view text) {
  line += '"';
  append_escaped(line, text, true);
  line += '"';
}

std::string make_line(format how, std::string_view message, std::initializer_list<field> fields) {
  std::string line;
  if (how == format::json) {
    line = "\"message\":";
    append_quoted(line, message);
    for (const auto& f : fields) {
      line += ',';
      append_quoted(line, f.name);
      line += ':';
      append_quoted(line, f.value);
    }
    return line;
  }
  append_escaped(line, message, false);
  for (const auto& f : fields) {
    line.append(" ").append(f.name).append("=");
    const bool plain = !f.value.empty() && f.value.find_first_of(" \"\\=") == std::string_view::npos;
    plain ? append_escaped(line, f.value, false) : append_quoted(line, f.value);
  }
  return line;
}

void write(level l, std::string_view message, std::initializer_list<field> fields) {
  const auto to = get();
  const auto at = to_spdlog(l);
  if (to->out.should_log(at)) to->out.log(at, spdlog::string_view_t(make_line(to->how, message, fields)));
}

}  // namespace

std::optional<level> parse_level(std::string_view text, std::string& problem) {
  return parse<level>(text, level_names, "level", problem);
}

std::optional<format> parse_format(std::string_view text, std::string& problem) {
  return parse<format>(text, format_names, "format", problem);
}

void init(level least, format how) {
  auto made = std::make_shared<logger>(least, how);
  auto& c = current();
  std::lock_guard lock(c.mutex);
  c.in_use.swap(made);
}

bool enabled(level l) {
  return l != level::off && get()->out.should_log(to_spdlog(l));
}

void debug(std::string_view message, std::initializer_list<field> fields) {
  write(level::debug, message, fields);
}
void info(std::string_view message, std::initializer_list<field> fields) {
  write(level::info, message, fields);
}
void warning(std::string_view message, std::initializer_list<field> fields) {
  write(level::warning, message, fields);
}
void error(std::string_view message, std::initializer_list<field> fields) {
  write(level::error, message, fields);
}

}  // namespace fxfarm::log
