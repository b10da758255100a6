#pragma once
// What the router and the dialer both need of ZeroMQ. Private to net/: zmq.hpp stays out of the public headers. Calls
// that happen for every message go through the C interface, because an interrupted or refused one is no exception
// there.

#include "net/session.hpp"
#include "runtime/bytes.hpp"
#include "runtime/error.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <zmq.hpp>

namespace fxfarm::net {

// Options that every socket of the farm has: bounded queues and frames, and no waiting when it is closed.
void set_bounds(zmq::socket_t& socket, const link_options& options);
// ZeroMQ takes an IPv6 address only where that was asked for.
void allow_address(zmq::socket_t& socket, const std::string& endpoint);
// From now on a close may take limits::goodbye_linger to send what the socket holds.
void let_linger(zmq::socket_t& socket);

// The parts of one message. Ours have one or two; a peer may send more, of which only the number is kept.
struct received {
  std::array<zmq::message_t, 2> parts;
  std::size_t count = 0;
};
// Takes one message without waiting; false when there is none.
bool receive_parts(zmq::socket_t& socket, received& into);
// What a socket's monitor tells: a ZMQ_EVENT and its value.
struct event_value {
  std::uint16_t number = 0;
  std::uint32_t value = 0;
};
event_value socket_event(const received& from);
// One part that others follow, without waiting.
session::write_result send_routing(zmq::socket_t& socket, std::string_view routing);
// The last part, without waiting.
session::write_result send_frame(zmq::socket_t& socket, const frame& what);
// Whether a message is there; also lets ZeroMQ do what other threads asked of the socket.
bool readable(zmq::socket_t& socket);

byte_view view_of(const zmq::message_t& part);

// Milliseconds for poll() until `then`, rounded up so that the deadline has passed on return; -1 for ever.
int poll_timeout(std::optional<time_point> then, time_point now);

// Signals are for the process's own threads, never for one that owns sockets.
void block_signals();

}  // namespace fxfarm::net
