#include "runtime/redis_url.hpp"

#include "runtime/limits.hpp"
#include "runtime/options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace fxfarm {
namespace {

constexpr std::uint16_t server_port = 6379;
constexpr std::uint16_t sentinel_port = 26379;

struct scheme {
  std::string_view prefix;
  redis_kind kind;
  bool tls;
};

constexpr std::array schemes{
    scheme{"redis://", redis_kind::server, false},
    scheme{"rediss://", redis_kind::server, true},
    scheme{"redis+sentinel://", redis_kind::sentinel, false},
    scheme{"rediss+sentinel://", redis_kind::sentinel, true},
    scheme{"redis+cluster://", redis_kind::cluster, false},
    scheme{"rediss+cluster://", redis_kind::cluster, true},
};
constexpr std::string_view socket_scheme = "unix://";

error bad(std::string why) {
  return {errc::bad_config, std::move(why)};
}

template <class Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned char c = 0;
    if (text.size() < i + 3) return std::nullopt;
    auto [end, failure] = std::from_chars(text.data() + i + 1, text.data() + i + 3, c, 16);
    if (failure != std::errc{} || end != text.data() + i + 3) return std::nullopt;
    out += static_cast<char>(c);
    i += 2;
  }
  return out;
}

// Takes "USER:PASSWORD@" from the front of `rest`.
result<void> take_user(std::string_view& rest, redis_target& into) {
  const auto at = rest.rfind('@');
  if (at == std::string_view::npos) return {};
  const auto given = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  const auto colon = given.find(':');
  auto user = percent_decoded(given.substr(0, colon));
  auto password = colon == std::string_view::npos ? std::string() : percent_decoded(given.substr(colon + 1));
  if (!user || !password) return bad("what stands before the @ is not percent-encoded as it should be");
  into.user = *std::move(user);
  into.password = *std::move(password);
  if (into.password.empty() && !into.user.empty() && colon != std::string_view::npos) {
    return bad("the password before the @ is empty");
  }
  return {};
}

result<redis_address> parse_address(std::string_view text, std::uint16_t standard_port) {
  const bool bracketed = text.starts_with('[');
  const auto host_end = bracketed ? text.find(']') : text.find(':');
  if (bracketed && host_end == std::string_view::npos) return bad("a [ has no ]");
  auto host = bracketed ? text.substr(1, host_end - 1) : text.substr(0, host_end);
  auto rest = host_end == std::string_view::npos ? std::string_view() : text.substr(host_end + (bracketed ? 1 : 0));
  const bool hidden = std::any_of(host.begin(), host.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
  if (host.empty() || hidden || host.find_first_of(" /\\?#@[]") != std::string_view::npos) {
    return bad("a host has no name");
  }
  if (rest.empty()) return redis_address{std::string(host), standard_port};
  const auto port = rest.starts_with(':') ? number<std::uint16_t>(rest.substr(1)) : std::nullopt;
  if (!port || *port == 0) return bad("want a port from 1 to 65535 behind " + std::string(host));
  return redis_address{std::string(host), *port};
}

result<void> take_addresses(std::string_view text, redis_target& into) {
  const auto port = into.kind == redis_kind::sentinel ? sentinel_port : server_port;
  while (true) {
    const auto comma = text.find(',');
    auto address = parse_address(text.substr(0, comma), port);
    if (!address) return address.failure();
    into.addresses.push_back(*std::move(address));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  if (into.kind == redis_kind::server && into.addresses.size() > 1) {
    return bad("several hosts are for redis+sentinel:// and redis+cluster://");
  }
  if (into.addresses.size() > limits::redis_addresses_max) return bad("too many hosts");
  return {};
}

result<void> take_path(std::string_view path, redis_target& into) {
  if (into.kind == redis_kind::cluster) {
    return path.empty() ? result<void>() : bad("a cluster has no databases: nothing may follow the hosts");
  }
  if (into.kind == redis_kind::sentinel) {
    const auto slash = path.find('/');
    into.master = path.substr(0, slash);
    if (into.master.empty()) return bad("want /NAME of the master behind the Sentinels");
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  }
  if (path.empty()) return {};
  const auto database = number<unsigned>(path);
  if (!database) return bad("want the number of a database behind the last /");
  into.database = *database;
  return {};
}

}  // namespace

result<redis_target> parse_redis_url(std::string_view url) {
  redis_target target;
  if (url.size() > limits::text_bytes_max) return bad("the URL is too long");
  if (url.starts_with(socket_scheme)) {
    url.remove_prefix(socket_scheme.size());
    if (auto taken = take_user(url, target); !taken) return taken.failure();
    if (!url.starts_with('/') || url.size() < 2 || url.size() > limits::socket_path_bytes_max) {
      return bad("want unix:// and an absolute path of at most " + std::to_string(limits::socket_path_bytes_max) +
                 " bytes");
    }
    target.addresses.push_back({std::string(url), 0});
    return target;
  }
  const auto* found =
      std::find_if(schemes.begin(), schemes.end(), [&](const scheme& s) { return url.starts_with(s.prefix); });
  if (found == schemes.end()) {
    return bad("want redis://, redis+sentinel://, redis+cluster://, the same with rediss, or unix://");
  }
  target.kind = found->kind;
  target.tls = found->tls;
  url.remove_prefix(found->prefix.size());
  if (auto taken = take_user(url, target); !taken) return taken.failure();
  const auto slash = url.find('/');
  if (auto taken = take_addresses(url.substr(0, slash), target); !taken) return taken.failure();
  const auto path = slash == std::string_view::npos ? std::string_view() : url.substr(slash + 1);
  if (auto taken = take_path(path, target); !taken) return taken.failure();
  return target;
}

std::string to_string(const redis_address& address) {
  if (address.is_socket()) return address.host;
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

std::string to_string(const redis_target& target) {
  if (target.addresses.front().is_socket()) return std::string(socket_scheme) + target.addresses.front().host;
  const auto* found = std::find_if(schemes.begin(), schemes.end(),
                                   [&](const scheme& s) { return s.kind == target.kind && s.tls == target.tls; });
  std::string text(found->prefix);
  for (const auto& a : target.addresses) text += (&a == target.addresses.data() ? "" : ",") + to_string(a);
  if (!target.master.empty()) text += "/" + target.master;
  if (target.database != 0) text += "/" + std::to_string(target.database);
  return text;
}

bool stays_on_host(const redis_target& target) {
  return std::all_of(target.addresses.begin(), target.addresses.end(),
                     [](const redis_address& a) { return a.is_socket() || stays_on_host("tcp://" + to_string(a)); });
}

}  // namespace fxfarm
