#include "runtime/config_checks.hpp"

#include "runtime/redis_url.hpp"

namespace fxfarm::config_checks {
namespace {

// Two options of which one is nothing without the other.
result<void> together(const std::string& one, bool has_one, const std::string& other, bool has_other, const values& v) {
  if (has_one == has_other) return {};
  const auto& given = has_one ? one : other;
  return {errc::bad_config, given + ": wants " + (has_one ? other : one) + ", too (" + v.at(given).where + ")"};
}

result<void> stay_on_host(const std::vector<std::string>& endpoints, const std::string& name, const std::string& keys,
                          const values& v) {
  for (const auto& e : endpoints) {
    if (stays_on_host(e)) continue;
    return {errc::bad_config, name + ": " + e + " leaves this host and would not be encrypted; give " + keys +
                                  ", use ipc:// or a loopback address, or accept that with --insecure (" +
                                  v.at(name).where + ")"};
  }
  return {};
}

}  // namespace

result<void> listening(const coordinator_config& c, const values& v) {
  const bool keyed = !c.server_key.empty();
  if (auto both = together("server_key", keyed, "authorized_keys", !c.authorized_keys.empty(), v); !both) return both;
  if (keyed || c.insecure) return {};
  return stay_on_host(c.listen, "listen", "--server-key and --authorized-keys", v);
}

result<void> link(const link_config& c, const std::vector<std::string>& endpoints, const std::string& name,
                  const values& v) {
  const bool keyed = !c.key.empty();
  if (auto both = together("secret_key", keyed, "server_public_key", !c.server_public_key.empty(), v); !both)
    return both;
  if (keyed || c.insecure) return {};
  return stay_on_host(endpoints, name, "--secret-key and --server-public-key", v);
}

result<void> signing(const worker_config& c, const values& v) {
  if (c.key.empty() || !c.signing_key.empty()) return {};
  return {errc::bad_config,
          "secret_key: wants signing_key, too, since a coordinator with keys takes only what is "
          "signed; `fxfarm keygen --signing` makes one (" +
              v.at("secret_key").where + ")"};
}

// Artifacts are code: who can change one on its way runs what he likes in the clients.
result<void> redis(const redis_config& c, const values& v) {
  if (c.url.empty()) return {};
  const auto target = parse_redis_url(c.url);
  if (!target) return target.failure().with_context("redis");
  const auto& given = v.at("redis");
  if (!target->password.empty() && given.source == config_source::flag) {
    return {errc::bad_config,
            "redis: everybody on this host can read a password in a command line; use "
            "--redis-password-file, or give the URL as FXFARM_REDIS or in the file"};
  }
  if (!target->password.empty() && !c.password_file.empty()) {
    return {errc::bad_config, "redis_password_file: the URL has a password, too (" + given.where + ")"};
  }
  if (target->tls || c.insecure || stays_on_host(*target)) return {};
  return {errc::bad_config, "redis: " + to_string(*target) +
                                " leaves this host and would not be encrypted; use rediss://, or accept that with "
                                "--redis-insecure (" +
                                given.where + ")"};
}

}  // namespace fxfarm::config_checks
