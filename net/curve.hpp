#pragma once
// Keys of links: made here, and given to sockets. See runtime/curve_key.hpp for their form.

#include "runtime/authorized_keys.hpp"
#include "runtime/curve_key.hpp"
#include "runtime/error.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace fxfarm::net {

// A new pair, from the system's randomness. Errors: internal when libzmq was built without CURVE.
result<key_pair> make_key_pair();
// Whether the two belong together.
bool is_pair(const key_pair& keys);

// At the end that binds: its own secret, and who may come in. `keys` is called on threads of net/, and may have another
// answer each time.
struct accepting {
  std::string secret_key;
  std::function<std::shared_ptr<const authorized_keys>()> keys;
};

// At the end that connects: its own pair, and the public keys that a coordinator may have; they are tried in turn.
struct presenting {
  key_pair own;
  std::vector<std::string> server_keys;  // at least one
  std::set<std::string> plain;           // endpoints that have no keys: the local farm's
};

// From an option's file, and from keys or files. Nothing when both are empty. Errors, which begin with the option's
// name: bad_config.
result<std::optional<presenting>> read_presenting(const std::string& key,
                                                  const std::vector<std::string>& server_public_key);
// The pair in the file of a coordinator's key.
result<key_pair> read_server_key(const std::string& file);

}  // namespace fxfarm::net
