#include "runtime/curve_key.hpp"

#include "runtime/key_file.hpp"
#include "runtime/limits.hpp"
#include "runtime/secret_file.hpp"

#include <cstdint>
#include <limits>

namespace fxfarm {
namespace {

constexpr std::string_view z85 =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
constexpr std::size_t group_chars = 5;  // that stand for four bytes

std::string render(std::string_view what, std::string_view hint, const key_pair& keys, bool secret) {
  std::string text = "# fxfarm: " + std::string(what) + " key of a ZeroMQ CURVE pair\n# " + std::string(hint) + "\n\n";
  text += "metadata\ncurve\n    public-key = \"" + keys.public_key + "\"\n";
  if (secret) text += "    secret-key = \"" + keys.secret_key + "\"\n";
  return text;
}

}  // namespace

bool is_curve_key(std::string_view text) {
  if (text.size() != curve_key_chars) return false;
  for (std::size_t at = 0; at < text.size(); at += group_chars) {
    std::uint64_t value = 0;
    for (const char c : text.substr(at, group_chars)) {
      const auto digit = z85.find(c);
      if (digit == std::string_view::npos) return false;
      value = value * z85.size() + digit;
    }
    if (value > std::numeric_limits<std::uint32_t>::max()) return false;
  }
  return true;
}

std::string render_public_key(const key_pair& keys) {
  return render("public", "Others may have it, if they can trust where they have it from.", keys, false);
}

std::string render_secret_key(const key_pair& keys) {
  return render("secret", "Nobody else may have it.", keys, true);
}

result<key_pair> read_key_pair(const std::string& option, const std::string& path) {
  const auto text =
      read_secret_text({.option = option, .path = path, .bytes_max = limits::key_file_bytes_max, .owner_only = true});
  if (!text) return text.failure();
  key_pair keys{key_file_value("public-key", *text), key_file_value("secret-key", *text)};
  if (is_curve_key(keys.public_key) && is_curve_key(keys.secret_key)) return keys;
  const auto* why = keys.secret_key.empty() ? " has no secret key" : " has no pair of keys";
  return {errc::bad_config, option + ": " + path + why + "; `fxfarm keygen` makes such a file"};
}

result<std::vector<std::string>> read_public_keys(const std::string& option, const std::vector<std::string>& given) {
  std::vector<std::string> keys;
  for (const auto& one : given) {
    if (is_curve_key(one)) {
      keys.push_back(one);
      continue;
    }
    const auto text = read_secret_text({.option = option, .path = one, .bytes_max = limits::key_file_bytes_max});
    if (!text) return text.failure();
    keys.push_back(key_file_value("public-key", *text));
    if (!is_curve_key(keys.back())) {
      return {errc::bad_config, option + ": " + one + " has no public key; `fxfarm keygen` makes such a file"};
    }
  }
  return keys;
}

}  // namespace fxfarm
