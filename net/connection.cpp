#include "net/connection.hpp"

#include "net/gatekeeper.hpp"

#include <algorithm>
#include <chrono>

namespace fxfarm::net {
namespace {

// Each of them means that the connection has ended or was not made.
constexpr int ends = ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
constexpr std::uint32_t key_refused = 400;  // ZAP's status

}  // namespace

connection::connection(zmq::context_t& context, const std::string& endpoint, const link_options& options,
                       std::uint64_t number, const presenting* keys, const std::string& server_key)
    : socket(context, zmq::socket_type::dealer),
      monitor(context, zmq::socket_type::pair),
      encrypted_(keys != nullptr),
      own_key_(keys == nullptr ? std::string() : keys->own.public_key) {
  set_bounds(socket, options);
  allow_address(socket, endpoint);
  if (keys != nullptr) present(socket, keys->own, server_key);
  monitor.set(zmq::sockopt::linger, 0);
  // The next attempt is the dialer's to make, with a socket that has nothing left in it. To forbid ZeroMQ its own would
  // make it throw away what it has read before the end, so its attempt is put off until long after this is closed.
  socket.set(zmq::sockopt::reconnect_ivl, static_cast<int>(std::chrono::milliseconds(std::chrono::hours(1)).count()));
  const auto events = "inproc://events-" + std::to_string(number);
  if (::zmq_socket_monitor(socket.handle(), events.c_str(), ends) != 0) throw zmq::error_t();
  monitor.connect(events);
  socket.connect(endpoint);
}

connection::~connection() {
  if (socket) ::zmq_socket_monitor(socket.handle(), nullptr, 0);
}

bool connection::ended() {
  received event;
  while (receive_parts(monitor, event)) how_ = std::max(how_, ending_of(event));
  return how_ != ending::none;
}

connection::ending connection::ending_of(const received& event) {
  const auto [number, value] = socket_event(event);
  if (number == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
    return value == key_refused ? ending::unknown_key : ending::not_checked;
  }
  if (number == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL && value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH) {
    return ending::mismatch;
  }
  if (number == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL || number == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) {
    return ending::broken_off;
  }
  return ending::lost;
}

error connection::why() const {
  switch (how_) {
    case ending::unknown_key:
      return {errc::refused, "the coordinator does not know the key " + own_key_ + "; add it to its authorized keys"};
    case ending::not_checked:
      return {errc::refused,
              "the coordinator has no room for more connections of the key " + own_key_ + ", or could not check it"};
    case ending::mismatch:
      return encrypted_ ? error{errc::refused, "the coordinator talks unencrypted, and this side has a key"}
                        : error{errc::refused, "the coordinator wants keys; give secret_key and server_public_key"};
    case ending::broken_off:
      return encrypted_ ? error{errc::refused,
                                "the coordinator broke off the handshake; its key is perhaps none of "
                                "server_public_key, or it has no room for more connections"}
                        : error{errc::unreachable,
                                "the other end broke off the handshake; if it wants keys, give "
                                "secret_key and server_public_key"};
    case ending::lost:
    case ending::none:
      break;
  }
  return {errc::unreachable, "nothing answers there"};
}

}  // namespace fxfarm::net
