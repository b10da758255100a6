#include "net/sockets.hpp"

#include "runtime/limits.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include <pthread.h>
#include <signal.h>

namespace fxfarm::net {
namespace {

// Why the last call sent nothing.
session::write_result unsent() {
  return errno == EAGAIN ? session::write_result::full : session::write_result::gone;
}

}  // namespace

void set_bounds(zmq::socket_t& socket, const link_options& options) {
  const auto handshake = std::chrono::duration_cast<std::chrono::milliseconds>(options.handshake_timeout);
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::sndhwm, static_cast<int>(limits::socket_messages_max));
  socket.set(zmq::sockopt::rcvhwm, static_cast<int>(limits::socket_messages_max));
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(limits::frame_bytes_max));
  socket.set(zmq::sockopt::handshake_ivl, static_cast<int>(handshake.count()));
}

void allow_address(zmq::socket_t& socket, const std::string& endpoint) {
  if (endpoint.find("://[") != std::string::npos) socket.set(zmq::sockopt::ipv6, true);
}

void let_linger(zmq::socket_t& socket) {
  socket.set(zmq::sockopt::linger, static_cast<int>(std::chrono::milliseconds(limits::goodbye_linger).count()));
}

bool receive_parts(zmq::socket_t& socket, received& into) {
  into.count = 0;
  zmq::message_t beyond;
  bool more = true;
  while (more) {
    auto& part = into.count < into.parts.size() ? into.parts[into.count] : beyond;
    if (::zmq_msg_recv(part.handle(), socket.handle(), ZMQ_DONTWAIT) < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    more = part.more();
    ++into.count;
  }
  return true;
}

event_value socket_event(const received& from) {
  event_value out;
  const auto& part = from.parts.front();
  if (part.size() < sizeof out.number + sizeof out.value) return out;
  std::memcpy(&out.number, part.data(), sizeof out.number);
  std::memcpy(&out.value, part.data<char>() + sizeof out.number, sizeof out.value);
  return out;
}

session::write_result send_routing(zmq::socket_t& socket, std::string_view routing) {
  while (::zmq_send(socket.handle(), routing.data(), routing.size(), ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0) {
    if (errno != EINTR) return unsent();
  }
  return session::write_result::written;
}

session::write_result send_frame(zmq::socket_t& socket, const frame& what) {
  zmq::message_t part(what.size());
  auto* const to = part.data<std::byte>();
  std::copy(what.head.begin(), what.head.end(), to);
  std::copy(what.tail.begin(), what.tail.end(), to + what.head.size());
  while (::zmq_msg_send(part.handle(), socket.handle(), ZMQ_DONTWAIT) < 0) {
    if (errno != EINTR) return unsent();
  }
  return session::write_result::written;
}

bool readable(zmq::socket_t& socket) {
  int events = 0;
  std::size_t size = sizeof events;
  while (::zmq_getsockopt(socket.handle(), ZMQ_EVENTS, &events, &size) < 0) {
    if (errno != EINTR) return false;
  }
  return (events & ZMQ_POLLIN) != 0;
}

byte_view view_of(const zmq::message_t& part) {
  return {static_cast<const std::byte*>(part.data()), part.size()};
}

int poll_timeout(std::optional<time_point> then, time_point now) {
  if (!then) return -1;
  if (*then <= now) return 0;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(*then - now).count();
  return static_cast<int>(std::min<std::int64_t>(wait, std::numeric_limits<int>::max()));
}

void block_signals() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace fxfarm::net
