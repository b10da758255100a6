#pragma once
// Watches who comes to a socket and who goes: answers ZeroMQ's question who may come in (ZAP, RFC 27), counts those who
// did not get so far, and knows which connections have ended, which a ROUTER socket learns only by sending. On a thread
// of its own, so that neither a flood of strangers nor a slow router holds up the other. Private to net/.

#include "net/curve.hpp"
#include "net/link_counters.hpp"
#include "net/sockets.hpp"
#include "runtime/file_handle.hpp"

#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include <zmq.hpp>

namespace fxfarm::net {

class gatekeeper {
public:
  // Guards a socket of `context`, which is made and bound after it; without `who` it lets in everybody. `counters` and
  // `who` outlive it. `ended` is called on its thread when take_ended() has something again. Throws zmq::error_t.
  gatekeeper(zmq::context_t& context, const accepting* who, link_counters& counters, std::function<void()> ended);
  // To be called before the context is closed.
  ~gatekeeper();
  gatekeeper(const gatekeeper&) = delete;
  gatekeeper& operator=(const gatekeeper&) = delete;

  // Makes `socket` accept only whom this lets in. Before it is bound. Throws zmq::error_t.
  void guard(zmq::socket_t& socket);
  // Starts the thread.
  void start();
  // The connections that have ended since the last call, by their socket's descriptor as descriptor_of() tells it; by
  // now another one may have it. Any thread.
  std::set<int> take_ended();

private:
  void run();
  void answer(zmq::socket_t& zap);
  void note(const received& event);
  void count_refused(const event_value& failure);
  void log_refusal(const std::string& key, const std::string& address);

  const accepting* const who_;  // null: keys are off
  link_counters& counters_;
  const std::function<void()> on_ended_;
  std::optional<zmq::socket_t> zap_;  // none: keys are off
  zmq::socket_t monitor_;
  file_handle stop_;
  std::mutex mutex_;
  std::set<int> ended_;  // no more of them than the process may have files
  std::thread thread_;
  // The thread's own.
  time_point logged_ = time_point::min();
  std::uint64_t unlogged_ = 0;
};

// The descriptor of the connection by which a message came; negative when it is not known.
int descriptor_of(const zmq::message_t& message);
// The public key that a message's sender has proved to have; empty when it has none.
std::string key_of(const zmq::message_t& message);
// Gives a socket that connects its keys. Throws zmq::error_t.
void present(zmq::socket_t& socket, const key_pair& own, const std::string& server_key);

}  // namespace fxfarm::net
