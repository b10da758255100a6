#include "net/listening.hpp"

#include "runtime/file_handle.hpp"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <system_error>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace fxfarm::net {
namespace {

constexpr std::string_view ipc_scheme = "ipc://";

// ZeroMQ would take over the path of a living socket without a word.
bool ipc_in_use(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;  // bind will refuse it
  std::copy(path.begin(), path.end(), address.sun_path);
  const file_handle socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return socket && ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

result<std::string> listen_on(zmq::socket_t& socket, const std::string& endpoint) {
  const bool ipc = endpoint.starts_with(ipc_scheme);
  const auto path = ipc ? endpoint.substr(ipc_scheme.size()) : std::string();
  if (ipc && ipc_in_use(path)) return {errc::io, endpoint + ": another process listens there"};
  std::string bound;
  try {
    socket.bind(endpoint);
    bound = socket.get(zmq::sockopt::last_endpoint);
  } catch (const zmq::error_t& e) {
    return {errc::io, endpoint + ": " + e.what()};
  }
  if (ipc && ::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0) {
    return {errc::io, endpoint + ": chmod: " + std::generic_category().message(errno)};
  }
  return bound;
}

}  // namespace fxfarm::net
