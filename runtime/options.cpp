#include "runtime/options.hpp"

#include "runtime/endpoint_names.hpp"
#include "runtime/limits.hpp"
#include "runtime/redis_url.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>
#include <numeric>
#include <utility>

namespace fxfarm {
namespace {

struct unit {
  std::string_view suffix;
  std::uint64_t factor;
};

constexpr std::array byte_units{
    unit{"", 1},
    unit{"B", 1},
    unit{"KiB", 1ULL << 10},
    unit{"MiB", 1ULL << 20},
    unit{"GiB", 1ULL << 30},
    unit{"TiB", 1ULL << 40},
    unit{"KB", 1'000},
    unit{"MB", 1'000'000},
    unit{"GB", 1'000'000'000},
    unit{"TB", 1'000'000'000'000},
};

constexpr std::array duration_units{
    unit{"ms", 1},
    unit{"s", 1'000},
    unit{"m", 60'000},
    unit{"h", 3'600'000},
};

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

template <std::size_t N>
std::optional<std::uint64_t> parse_with_unit(std::string_view text, const std::array<unit, N>& units,
                                             std::uint64_t most) {
  auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  auto number = parse_number<std::uint64_t>(text.substr(0, digits));
  auto suffix = text.substr(digits);
  const auto* u = std::find_if(units.begin(), units.end(), [&](const unit& c) { return c.suffix == suffix; });
  if (!number || u == units.end() || *number > most / u->factor) return std::nullopt;
  return *number * u->factor;
}

// The largest unit among `units` that divides the value.
std::string render_with_unit(std::uint64_t value, std::initializer_list<unit> units) {
  for (const auto& u : units) {
    if (value >= u.factor && value % u.factor == 0) return std::to_string(value / u.factor) + std::string(u.suffix);
  }
  return std::to_string(value);
}

bool is_plain_text(std::string_view text) {
  return text.size() <= limits::text_bytes_max && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

struct host_port {
  std::string_view host;
  std::string_view port;
};

std::optional<host_port> split_address(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  host_port parts{text.substr(0, colon), text.substr(colon + 1)};
  bool bracketed = parts.host.starts_with('[') && parts.host.ends_with(']');
  if (parts.host.empty() || parts.host.find_first_of(" /,@\t") != std::string_view::npos) return std::nullopt;
  if (!bracketed && parts.host.find(':') != std::string_view::npos) return std::nullopt;
  auto port = parse_number<std::uint16_t>(parts.port);
  if (!port) return std::nullopt;
  return parts;
}

constexpr std::string_view tcp_scheme = "tcp://";
constexpr std::string_view ipc_scheme = "ipc://";

bool is_socket_file(std::string_view path) {
  return path.starts_with('/') && path.size() > 1 && path.size() <= limits::socket_path_bytes_max &&
         is_plain_text(path);
}

bool is_endpoint(std::string_view text) {
  if (!is_plain_text(text) || text.find(',') != std::string_view::npos) return false;
  if (text.starts_with(tcp_scheme)) return split_address(text.substr(tcp_scheme.size())).has_value();
  return text.starts_with(ipc_scheme) && is_socket_file(text.substr(ipc_scheme.size()));
}

bool is_host_name(std::string_view text) {
  return !text.empty() && text.size() <= limits::text_bytes_max && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
           c == '_';
  });
}

// The endpoint that one with a name is for each address of the name.
std::string_view without_name(std::string_view endpoint) {
  return endpoint.starts_with(named_scheme) ? endpoint.substr(named_scheme.size() - tcp_scheme.size()) : endpoint;
}

template <class F>
std::optional<std::vector<std::string>> split_list(std::string_view text, F&& is_one) {
  std::vector<std::string> all;
  while (true) {
    auto comma = text.find(',');
    auto one = text.substr(0, comma);
    if (!is_one(one)) return std::nullopt;
    all.emplace_back(one);
    if (comma == std::string_view::npos) return all;
    text.remove_prefix(comma + 1);
  }
}

std::string same(const std::string& text) {
  return text;
}

std::string join(const std::vector<std::string>& words, std::string_view separator) {
  std::string all;
  for (const auto& w : words) all.append(all.empty() ? "" : separator).append(w);
  return all;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      auto replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string spelled(std::string_view name, char from, char to, int (*fold)(int)) {
  std::string text(name);
  for (auto& c : text) c = c == from ? to : static_cast<char>(fold(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  return parse_with_unit(text, byte_units, std::numeric_limits<std::uint64_t>::max());
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  // A year is more than any wait of the farm's, and sums of such values cannot overflow.
  constexpr std::uint64_t ms_max = 366ULL * 24 * 3'600'000;
  auto ms = parse_with_unit(text, duration_units, ms_max);
  if (!ms) return std::nullopt;
  return std::chrono::milliseconds(*ms);
}

std::string render_bytes(std::uint64_t bytes) {
  return render_with_unit(bytes, {{"TiB", 1ULL << 40}, {"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}});
}

std::string render_duration(std::chrono::milliseconds duration) {
  return render_with_unit(static_cast<std::uint64_t>(duration.count()),
                          {{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}});
}

bool is_farm_endpoint(std::string_view text) {
  return is_endpoint(without_name(text));
}

bool stays_on_host(std::string_view endpoint) {
  endpoint = without_name(endpoint);
  if (endpoint.starts_with(ipc_scheme)) return true;
  if (!endpoint.starts_with(tcp_scheme)) return false;
  auto address = split_address(endpoint.substr(tcp_scheme.size()));
  if (!address) return false;
  if (address->host == "localhost" || address->host == "[::1]") return true;
  // A name such as 127.example.org must not pass for an address.
  return address->host.starts_with("127.") && address->host.find_first_not_of("0123456789.") == std::string_view::npos;
}

namespace kinds {

value_kind<bool> boolean() {
  return {"true or false",
          [](std::string_view t) -> std::optional<bool> {
            if (t == "true" || t == "1" || t == "yes" || t == "on") return true;
            if (t == "false" || t == "0" || t == "no" || t == "off") return false;
            return std::nullopt;
          },
          [](const bool& v) { return std::string(v ? "true" : "false"); }, true};
}

value_kind<std::string> text() {
  return {"one line of text",
          [](std::string_view t) { return is_plain_text(t) ? std::optional(std::string(t)) : std::nullopt; }, same};
}

value_kind<std::string> path() {
  return {
      "a path",
      [](std::string_view t) { return !t.empty() && is_plain_text(t) ? std::optional(std::string(t)) : std::nullopt; },
      same};
}

value_kind<std::string> socket_file() {
  return {
      "an absolute path of at most " + std::to_string(limits::socket_path_bytes_max) + " bytes, with or without ipc://",
      [](std::string_view t) {
        if (t.starts_with(ipc_scheme)) t.remove_prefix(ipc_scheme.size());
        return is_socket_file(t) ? std::optional(std::string(t)) : std::nullopt;
      },
      same};
}

value_kind<std::string> one_of(std::vector<std::string> words) {
  auto allowed = "one of " + join(words, ", ");
  return {allowed,
          [words = std::move(words)](std::string_view t) {
            bool known = std::find(words.begin(), words.end(), t) != words.end();
            return known ? std::optional(std::string(t)) : std::nullopt;
          },
          same};
}

value_kind<std::string> endpoint() {
  return {"tcp://HOST:PORT or ipc:///PATH",
          [](std::string_view t) { return is_endpoint(t) ? std::optional(std::string(t)) : std::nullopt; }, same};
}

value_kind<std::vector<std::string>> endpoints() {
  return {"a list of tcp://HOST:PORT or ipc:///PATH", [](std::string_view t) { return split_list(t, is_endpoint); },
          [](const std::vector<std::string>& v) { return join(v, ","); }, false, true};
}

value_kind<std::vector<std::string>> farm() {
  return {"a list of tcp://HOST:PORT, dns+tcp://NAME:PORT or ipc:///PATH",
          [](std::string_view t) { return split_list(t, is_farm_endpoint); },
          [](const std::vector<std::string>& v) { return join(v, ","); }, false, true};
}

value_kind<std::vector<std::string>> host_names() {
  return {"a list of host names without ports",
          [](std::string_view t) {
            return t.empty() ? std::optional(std::vector<std::string>()) : split_list(t, is_host_name);
          },
          [](const std::vector<std::string>& v) { return join(v, ","); }, false, true};
}

value_kind<std::vector<std::string>> public_keys() {
  return {"a list of public keys, or of files with one",
          [](std::string_view t) {
            const auto is_one = [](std::string_view one) { return !one.empty() && is_plain_text(one); };
            if (t.empty()) return std::optional<std::vector<std::string>>(std::in_place);
            auto all = split_list(t, is_one);
            return all && all->size() <= limits::server_keys_max ? all : std::nullopt;
          },
          [](const std::vector<std::string>& v) { return join(v, ","); }, false, true};
}

value_kind<std::string> address_or_off() {
  return {"HOST:PORT or off",
          [](std::string_view t) -> std::optional<std::string> {
            if (t == "off") return std::string();
            return split_address(t) ? std::optional(std::string(t)) : std::nullopt;
          },
          [](const std::string& v) { return v.empty() ? std::string("off") : v; }};
}

value_kind<unsigned> count(unsigned least, unsigned most) {
  return {"a number from " + std::to_string(least) + " to " + std::to_string(most),
          [=](std::string_view t) {
            auto n = parse_number<unsigned>(t);
            return n && *n >= least && *n <= most ? n : std::nullopt;
          },
          [](const unsigned& v) { return std::to_string(v); }};
}

value_kind<std::uint64_t> byte_count() {
  return {"bytes such as 4096, 64KiB or 2GiB", [](std::string_view t) { return parse_bytes(t); },
          [](const std::uint64_t& v) { return render_bytes(v); }};
}

value_kind<std::chrono::milliseconds> duration() {
  return {"a duration such as 500ms, 30s or 2h",
          [](std::string_view t) {
            auto d = parse_duration(t);
            return d && d->count() > 0 ? d : std::nullopt;
          },
          [](const std::chrono::milliseconds& v) { return render_duration(v); }};
}

value_kind<std::string> redis_url() {
  return {
      "redis://HOST:PORT, rediss://HOST:PORT, redis+sentinel://HOST:PORT,.../NAME, redis+cluster://HOST:PORT,... or "
      "unix:///PATH",
      [](std::string_view t) {
        return is_plain_text(t) && parse_redis_url(t) ? std::optional(std::string(t)) : std::nullopt;
      },
      same,
      false,
      false,
      true};
}

value_kind<std::string> key_prefix() {
  return {"letters, digits and any of : . _ -, at most 64",
          [](std::string_view t) {
            const bool plain = !t.empty() && t.size() <= 64 && std::all_of(t.begin(), t.end(), [](unsigned char c) {
              return std::isalnum(c) || c == ':' || c == '.' || c == '_' || c == '-';
            });
            return plain ? std::optional(std::string(t)) : std::nullopt;
          },
          same};
}

}  // namespace kinds

std::string flag_name(std::string_view option_name) {
  return "--" + spelled(option_name, '_', '-', [](int c) { return c; });
}

std::string variable_name(std::string_view option_name) {
  return "FXFARM_" + spelled(option_name, '-', '_', std::toupper);
}

const option* option_set::find(std::string_view name) const {
  auto it = std::find_if(options_.begin(), options_.end(), [&](const option& o) { return o.name == name; });
  return it == options_.end() ? nullptr : &*it;
}

std::vector<std::string> option_set::names() const {
  std::vector<std::string> all;
  for (const auto& o : options_) all.push_back(o.name);
  return all;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates) {
  constexpr std::size_t shown_max = 3;
  auto nearest = std::max<std::size_t>(2, name.size() / 4);
  std::vector<std::string> near;
  for (const auto& c : candidates) {
    // No two texts are nearer than their lengths are; what is unknown may be long.
    if (std::max(name.size(), c.size()) - std::min(name.size(), c.size()) > nearest && !c.starts_with(name)) continue;
    // A beginning of the name is near too: --memory for --memory-bytes.
    auto distance = c.starts_with(name) ? 1 : edit_distance(name, c);
    if (distance > nearest || std::find(near.begin(), near.end(), c) != near.end()) continue;
    if (distance < nearest) near.clear();
    nearest = distance;
    if (near.size() < shown_max) near.push_back(c);
  }
  if (near.empty()) return {};
  return "; did you mean " + join(near, " or ") + "?";
}

}  // namespace fxfarm
