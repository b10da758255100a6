#pragma once
// The machinery of configuration: an option is declared once, bound to the field it fills; its flag (--memory-bytes),
// its variable (FXFARM_MEMORY_BYTES), its key in the file (memory_bytes) and its line of --help follow from that.

#include "runtime/error.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fxfarm {

// How the text of an option becomes a value, and back.
template <class T>
struct value_kind {
  std::string allowed;  // "bytes such as 4096, 64KiB or 2GiB"
  std::function<std::optional<T>(std::string_view)> parse;
  std::function<std::string(const T&)> render;
  bool is_switch = false;  // its flag may stand without a value
  bool is_list = false;    // its flag may be repeated, its key may be an array
  bool is_secret = false;  // no message repeats what was given
};

namespace kinds {

// What may be left out; its text is then empty.
template <class T>
value_kind<std::optional<T>> maybe(value_kind<T> kind) {
  value_kind<std::optional<T>> out;
  out.allowed = kind.allowed;
  out.parse = [parse = std::move(kind.parse)](std::string_view text) -> std::optional<std::optional<T>> {
    auto value = parse(text);
    if (!value) return std::nullopt;
    return std::optional<std::optional<T>>(std::in_place, std::move(value));
  };
  out.render = [render = std::move(kind.render)](const std::optional<T>& v) { return v ? render(*v) : std::string(); };
  return out;
}

value_kind<bool> boolean();
value_kind<std::string> text();  // one line, at most limits::text_bytes_max
value_kind<std::string> path();
value_kind<std::string> socket_file();  // a file; may be written as an ipc:// endpoint
value_kind<std::string> one_of(std::vector<std::string> words);
value_kind<std::string> endpoint();                 // tcp://HOST:PORT or ipc:///PATH
value_kind<std::vector<std::string>> endpoints();   // at least one
value_kind<std::vector<std::string>> farm();        // at least one; names are allowed, see is_farm_endpoint
value_kind<std::vector<std::string>> host_names();  // without ports; may be none
value_kind<std::string> address_or_off();           // HOST:PORT; "off" becomes the empty string
value_kind<unsigned> count(unsigned least, unsigned most);
value_kind<std::uint64_t> byte_count();
value_kind<std::chrono::milliseconds> duration();    // longer than 0
value_kind<std::string> redis_url();                 // see redis_url.hpp; a secret, since it may hold a password
value_kind<std::vector<std::string>> public_keys();  // each a key, or a path; none is allowed
value_kind<std::string> key_prefix();                // of keys in Redis

}  // namespace kinds

// Texts with units. Bytes: digits, then nothing, B, KiB, MiB, GiB or TiB (KB, MB, ... are powers of 1000). Durations:
// digits, then ms, s, m or h. Nothing on a syntax error or when the value does not fit.
std::optional<std::uint64_t> parse_bytes(std::string_view text);
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
std::string render_bytes(std::uint64_t bytes);
std::string render_duration(std::chrono::milliseconds duration);

// tcp://HOST:PORT, ipc:///PATH, or dns+tcp://NAME:PORT, which stands for a coordinator at each of the name's addresses.
bool is_farm_endpoint(std::string_view text);

// Whether what goes over the endpoint cannot leave the host: ipc://, or tcp:// to a loopback address.
bool stays_on_host(std::string_view endpoint);

// "memory_bytes" as a flag, "--memory-bytes", and as a variable, "FXFARM_MEMORY_BYTES".
std::string flag_name(std::string_view option_name);
std::string variable_name(std::string_view option_name);

struct option {
  std::string name;  // "memory_bytes"
  std::string help;
  std::string allowed;
  std::string default_text;
  bool is_switch = false;
  bool is_list = false;
  bool is_secret = false;
  bool is_flag_only = false;                     // for one call: neither variable nor key
  std::function<bool(std::string_view)> assign;  // false: the text is not allowed, and nothing has changed
  std::function<std::string()> current;          // the field's value as text

  std::string flag() const { return flag_name(name); }
  std::string variable() const { return variable_name(name); }
};

// The options of one role. It points into the struct it was declared for, which must outlive it.
class option_set {
public:
  // `target` holds the default. `default_text` tells it in words where it depends on the machine. The option is valid
  // until the next one is added.
  template <class T>
  option& add(std::string name, T& target, value_kind<T> kind, std::string help, std::string default_text = {}) {
    option o{std::move(name),
             std::move(help),
             kind.allowed,
             std::move(default_text),
             kind.is_switch,
             kind.is_list,
             kind.is_secret,
             false,
             {},
             {}};
    if (o.default_text.empty()) o.default_text = kind.render(target);
    o.current = [&target, render = std::move(kind.render)] { return render(target); };
    o.assign = [&target, parse = std::move(kind.parse)](std::string_view text) {
      auto value = parse(text);
      if (!value) return false;
      target = *std::move(value);
      return true;
    };
    options_.push_back(std::move(o));
    return options_.back();
  }

  const std::vector<option>& all() const { return options_; }
  const option* find(std::string_view name) const;
  std::vector<std::string> names() const;

private:
  std::vector<option> options_;
};

// "; did you mean X?" for the candidates nearest to `name`, or nothing when none is near.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace fxfarm
