#pragma once
// One peer after its handshake, the same at both ends: what waits to be sent to it, its streams, its heartbeats. Plain
// logic: the router and the dialer own the sockets, hand in what came, and tell the time.

#include "net/codec.hpp"
#include "net/link_counters.hpp"
#include "net/stream.hpp"
#include "runtime/bytes.hpp"
#include "runtime/error.hpp"
#include "runtime/limits.hpp"

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>

namespace fxfarm::net {

// Bounds and periods of a link; the defaults are the farm's, tests pass smaller ones.
struct link_options {
  clock::duration heartbeat_period = limits::heartbeat_period;
  clock::duration silence_max = limits::peer_silence_max;
  clock::duration handshake_timeout = limits::handshake_timeout;
  std::size_t messages_max = limits::peer_messages_max;
  std::size_t batch_max = limits::inbound_batch_max;
  std::size_t inbound_bytes_max = limits::inbound_bytes_max;
  std::size_t outbox_max = limits::outbox_commands_max;
  std::size_t enclosed_bytes_max = limits::enclosed_bytes_max;  // of attachments that may come within a message
  stream_bounds streams = {};
};

// What encode() is to leave free behind a message so that a session can enclose its attachment there.
inline std::size_t room_to_enclose(const blob& attachment) {
  const bool small = attachment && attachment->size() <= limits::enclosed_bytes_max;
  return small ? attachment->size() + enclosing_bytes : 0;
}

// What goes into a socket as one message: `head`, then `tail`. A chunk's payload is not copied before that.
struct frame {
  bytes head;
  byte_view tail = {};
  blob whole = nullptr;  // keeps `tail` alive

  std::size_t size() const { return head.size() + tail.size(); }
};

class session {
public:
  enum class write_result : std::uint8_t { written, full, gone };
  // Puts one frame into the socket, without blocking.
  using writer = std::function<write_result(const frame&)>;

  enum class verdict : std::uint8_t {
    nothing,      // the link's own affair
    deliver,      // `content` and `attachment` are for the actors
    left,         // the peer ends the connection; `why` is its reason
    broke_rules,  // the peer must be told `why` and dropped
  };
  struct reception {
    verdict what = verdict::nothing;
    message content;
    blob attachment;
    error why;
    std::string digest = {};  // of the attachment
  };

  session(side own, const link_options& options, link_counters& counters, time_point now);

  // Takes a message in line, as encode() gave it; `too_large` when the peer is too slow for its bounds. `digest` is the
  // attachment's.
  result<void> push(bytes encoded, blob attachment = nullptr, std::string digest = {});

  // Writes until nothing may be sent (`written`), the socket takes no more (`full`), or the peer is not there (`gone`).
  write_result flush(const writer& write, time_point now);

  // Something waits to be sent.
  bool unsent() const { return staged_ || !frames_.empty() || sender_.backlog_bytes() > 0; }

  reception receive(envelope&& came, time_point now);

  // To be called at deadline() or later, which is never further away than a heartbeat: puts a heartbeat in line, gives
  // up silent streams; `timeout` when the peer has been silent for too long.
  result<void> tick(time_point now);
  time_point deadline() const;
  // What it may have said until now has not been read: it does not count as silent.
  void not_listened(time_point now);
  // When the peer was last heard.
  time_point heard() const { return heard_; }

  // How often the peer wants to hear from us; never slower than our own period.
  void adopt_heartbeat(clock::duration wanted);
  // How large an attachment the peer takes within a message; until it has said so it takes none.
  void adopt_enclosed(std::uint64_t bytes);

private:
  std::optional<frame> next_frame(time_point now);
  std::optional<frame> next_stream_frame(time_point now);
  reception take_message(envelope&& came, time_point now);
  reception take_chunk(const chunk& piece, time_point now);
  result<void> enqueue(bytes encoded);
  void abort_stream(std::uint64_t stream);

  link_options options_;
  link_counters& counters_;
  std::deque<bytes> frames_;  // encoded, in order
  std::size_t frames_bytes_ = 0;
  std::optional<frame> staged_;  // taken out of line, but the socket was full
  std::size_t frames_in_row_ = 0;
  std::size_t enclosed_bytes_ = 0;
  stream_sender sender_;
  stream_receiver receiver_;
  time_point heard_;
  time_point spoke_;
  time_point ticked_;
};

}  // namespace fxfarm::net
