#pragma once
// Answers ZeroMQ's question who may come in (ZAP, RFC 27), and counts those who did not get so far. On a thread of its
// own, so that neither a flood of strangers nor a slow router holds up the other. Private to net/.

#include "net/curve.hpp"
#include "net/link_counters.hpp"
#include "net/sockets.hpp"
#include "runtime/file_handle.hpp"

#include <string>
#include <thread>

#include <zmq.hpp>

namespace fxfarm::net {

class gatekeeper {
public:
  // Guards the sockets of `context`, which are made and bound after it. `counters` outlives it. Throws zmq::error_t.
  gatekeeper(zmq::context_t& context, const accepting& who, link_counters& counters);
  // To be called before the context is closed.
  ~gatekeeper();
  gatekeeper(const gatekeeper&) = delete;
  gatekeeper& operator=(const gatekeeper&) = delete;

  // Makes `socket` accept only whom this lets in. Before it is bound. Throws zmq::error_t.
  void guard(zmq::socket_t& socket);
  // Starts the thread.
  void start();

private:
  void run();
  void answer(zmq::socket_t& zap);
  void count(const received& event);
  void log_refusal(const std::string& key, const std::string& address);

  const accepting who_;
  link_counters& counters_;
  zmq::socket_t zap_;
  zmq::socket_t monitor_;
  file_handle stop_;
  std::thread thread_;
  // The thread's own.
  time_point logged_ = time_point::min();
  std::uint64_t unlogged_ = 0;
};

// The public key that a message's sender has proved to have; empty when it has none.
std::string key_of(const zmq::message_t& message);
// Gives a socket that connects its keys. Throws zmq::error_t.
void present(zmq::socket_t& socket, const key_pair& own, const std::string& server_key);

}  // namespace fxfarm::net
