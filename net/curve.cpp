#include "net/curve.hpp"

#include <array>
#include <cstddef>

#include <zmq.hpp>

namespace fxfarm::net {
namespace {

using key_text = std::array<char, curve_key_chars + 1>;

result<key_pair> read_pair(const std::string& option, const std::string& file) {
  auto keys = read_key_pair(option, file);
  if (keys && !is_pair(*keys)) return {errc::bad_config, option + ": the two keys in " + file + " are not of one pair"};
  return keys;
}

}  // namespace

result<key_pair> make_key_pair() {
  key_text public_key{};
  key_text secret_key{};
  if (::zmq_curve_keypair(public_key.data(), secret_key.data()) != 0) {
    return {errc::internal, std::string("libzmq makes no keys: ") + ::zmq_strerror(::zmq_errno())};
  }
  return key_pair{public_key.data(), secret_key.data()};
}

bool is_pair(const key_pair& keys) {
  key_text public_key{};
  return ::zmq_curve_public(public_key.data(), keys.secret_key.c_str()) == 0 && keys.public_key == public_key.data();
}

result<std::optional<presenting>> read_presenting(const std::string& key,
                                                  const std::vector<std::string>& server_public_key) {
  if (key.empty() && server_public_key.empty()) return std::optional<presenting>();
  if (key.empty()) return {errc::bad_config, "server_public_key: wants secret_key, too"};
  if (server_public_key.empty()) return {errc::bad_config, "secret_key: wants server_public_key, too"};
  auto own = read_pair("secret_key", key);
  if (!own) return own.failure();
  auto servers = read_public_keys("server_public_key", server_public_key);
  if (!servers) return servers.failure();
  return std::optional(presenting{*std::move(own), *std::move(servers), {}});
}

result<key_pair> read_server_key(const std::string& file) {
  return read_pair("server_key", file);
}

}  // namespace fxfarm::net
