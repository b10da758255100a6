#pragma once
// What a coordinator asks of a peer's first message. Private to net/.

#include "net/link_counters.hpp"
#include "net/messages.hpp"
#include "runtime/authorized_keys.hpp"
#include "runtime/error.hpp"

#include <string>

namespace fxfarm::net {

// Errors: protocol, with the field.
result<void> check_hello(const hello& who);

struct admission {
  const key_right* right = nullptr;  // null: not let in, and
  refusal reason = refusal::revoked;
  error why;
};
// Whether a peer that has proved to have the key `public_key` may be a `role`.
admission admit(const authorized_keys& keys, const std::string& public_key, const std::string& role);

}  // namespace fxfarm::net
