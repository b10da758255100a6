#pragma once
// Watches who comes to a socket and who goes: answers ZeroMQ's question who may come in (ZAP, RFC 27), counts those who
// did not get so far, hangs up on who is there without being a peer, and knows which connections have ended, which a
// ROUTER socket learns only by sending. On a thread of its own, so that neither a flood of strangers nor a slow router
// holds up the other. Private to net/.

#include "net/connection_closer.hpp"
#include "net/connection_table.hpp"
#include "net/curve.hpp"
#include "net/link_counters.hpp"
#include "net/sockets.hpp"
#include "runtime/file_handle.hpp"

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include <zmq.hpp>

namespace fxfarm::net {

class gatekeeper {
public:
  // What it tells, on its thread.
  struct listener {
    std::function<void()> ended;     // take_ended() has something again
    std::function<void()> too_many;  // one more connection of a key was not let in
  };

  // Guards a socket of `context`, which is made and bound after it; without `who` it lets in everybody. `counters` and
  // `who` outlive it. Throws zmq::error_t.
  gatekeeper(zmq::context_t& context, const accepting* who, connection_bounds bounds, link_counters& counters,
             listener told);
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

  // See connection_table. Any thread.
  bool heard(int descriptor, connection_table::ticket shown);
  void joined(int descriptor, connection_table::ticket shown);
  void left(int descriptor, connection_table::ticket shown);
  void replaced(int descriptor, connection_table::ticket shown);

private:
  // Has what happens again and again logged at most once within a time.
  class pace {
  public:
    bool due(time_point now);
    std::uint64_t take_passed_over() { return std::exchange(passed_over_, 0); }

  private:
    time_point last_ = time_point::min();
    std::uint64_t passed_over_ = 0;
  };

  void run();
  void wake() const;
  std::optional<time_point> next_deadline();
  // Does this to the table, and has the thread wait no longer than until then.
  void change(const std::function<void(time_point)>& what);
  void answer();
  void note(const received& event);
  void note_accepted(int descriptor);
  void note_ended(int descriptor);
  void hang_up_on_due();
  void hang_up(int descriptor, ino_t inode);
  void count_refused(const event_value& failure);
  void log_refusal(const std::string& key, const std::string& address);

  const accepting* const who_;  // null: keys are off
  link_counters& counters_;
  const listener told_;
  zmq::socket_t zap_;
  zmq::socket_t monitor_;
  file_handle wake_;
  connection_closer closer_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  connection_table table_;
  std::set<int> ended_;  // no more of them than the process may have files
  std::thread thread_;
  // The thread's own.
  pace refusals_logged_, failures_logged_;
};

// The descriptor of the connection by which a message came; negative when it is not known.
int descriptor_of(const zmq::message_t& message);
// The public key that a message's sender has proved to have; empty when it has none.
std::string key_of(const zmq::message_t& message);
// The ticket of the connection by which a message came; 0 when it has none.
connection_table::ticket ticket_of(const zmq::message_t& message);
// Gives a socket that connects its keys. Throws zmq::error_t.
void present(zmq::socket_t& socket, const key_pair& own, const std::string& server_key);

}  // namespace fxfarm::net
