#pragma once
// Where fxfarm keeps things on a host. Names are computed from the environment that is passed in; only `make_private`
// touches the disk.

#include "runtime/error.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

using environment = std::map<std::string, std::string, std::less<>>;

// The environment of this process.
environment process_environment();

// This host's name, for people; "localhost" when it has none.
std::string host_name();

namespace paths {

// Sockets and locks of this user: $XDG_RUNTIME_DIR/fxfarm, else $TMPDIR/fxfarm-<uid>, else /tmp/fxfarm-<uid>.
std::string runtime_directory(const environment& env, unsigned uid);

// Artifacts: $XDG_CACHE_HOME/fxfarm, else $HOME/.cache/fxfarm, else below the runtime directory.
std::string cache_directory(const environment& env, unsigned uid);

// $XDG_CONFIG_HOME/fxfarm/config.toml, else $HOME/.config/fxfarm/config.toml; empty when neither variable is set.
std::string default_config_file(const environment& env);

// Creates the directory (0700) and its parents when it is missing. `refused` when it is a link, belongs to another user
// or is open to others, since whoever can write there could pose as the farm; `io` when it cannot be made.
result<void> make_private(const std::string& directory);

inline constexpr std::string_view default_environment_tag = "default";

// File of the local farm's socket: "<directory>/local-<tag>.sock". A farm serves one environment, so the tag names it:
// a short hash of the Python prefix and fxfarm's version. Errors: bad_input for a tag that is no file name, too_large
// when the path does not fit into a socket address.
result<std::string> local_socket(const std::string& directory, std::string_view environment_tag);

// Sockets of local farms in the directory, by name; a farm that was killed leaves its socket behind. Empty when the
// directory cannot be read.
std::vector<std::string> local_sockets(const std::string& directory);

// The lock that decides who starts the local farm: beside the socket, ".lock" instead of ".sock".
std::string lock_beside(std::string_view socket_file);

}  // namespace paths
}  // namespace fxfarm
