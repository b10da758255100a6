#pragma once
// One attempt to reach an endpoint, or the connection it became. Private to net/.

#include "net/curve.hpp"
#include "net/session.hpp"
#include "net/sockets.hpp"
#include "runtime/error.hpp"

#include <cstdint>
#include <string>

#include <zmq.hpp>

namespace fxfarm::net {

class connection {
public:
  // `keys`: null to talk unencrypted; else the coordinator must have the key `server_key`. Throws zmq::error_t.
  connection(zmq::context_t& context, const std::string& endpoint, const link_options& options, std::uint64_t number,
             const presenting* keys, const std::string& server_key);
  ~connection();
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  // Whether the connection has ended, or could not be made.
  bool ended();
  // The other end broke it off before it was set up, as one does that has another key than the one expected.
  bool broken_off() const { return how_ == ending::broken_off; }
  // It was refused in words, which only the coordinator has that is expected.
  bool refused_in_words() const { return how_ == ending::unknown_key || how_ == ending::not_checked; }
  // Why there is no connection, for one that has ended before it was set up.
  error why() const;

  session::write_result write(const frame& what) { return send_frame(socket, what); }

  zmq::socket_t socket;
  zmq::socket_t monitor;  // tells at once when the other end is gone

private:
  // In the order in which they tell more.
  enum class ending : std::uint8_t { none, lost, broken_off, mismatch, unknown_key, not_checked };
  static ending ending_of(const received& event);

  const bool encrypted_;
  const std::string own_key_;
  ending how_ = ending::none;
};

}  // namespace fxfarm::net
