#include "net/admission.hpp"

#include "runtime/process_id.hpp"

#include <algorithm>
#include <array>

namespace fxfarm::net {
result<void> check_hello(const hello& who) {
  static constexpr std::array roles{"client", "worker", "operator"};
  if (who.magic != wire_magic) return {errc::protocol, "hello.magic: this is an fxfarm coordinator"};
  if (who.version != wire_version) {
    return {errc::protocol,
            "hello.version: " + std::to_string(who.version) + ", this side speaks " + std::to_string(wire_version)};
  }
  if (std::find(roles.begin(), roles.end(), who.role) == roles.end()) {
    return {errc::protocol, "hello.role: expected client, worker or operator"};
  }
  if (who.id.empty() || who.id.size() > process_id_bytes_max) {
    return {errc::protocol, "hello.id: expected 1 to " + std::to_string(process_id_bytes_max) + " bytes"};
  }
  return {};
}

admission admit(const authorized_keys& keys, const std::string& public_key, const std::string& role) {
  if (const auto* right = keys.find(public_key, role)) return {right, {}, {}};
  const auto key = "the key " + public_key;
  if (!keys.knows(public_key)) {
    return {nullptr, refusal::revoked, {errc::refused, key + " is not authorized any longer"}};
  }
  return {nullptr,
          refusal::wrong_role,
          {errc::refused, key + " has no right to be " + role + "; it may be: " + keys.roles_of(public_key)}};
}

}  // namespace fxfarm::net
