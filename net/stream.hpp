#pragma once
// Attachments in pieces: the two ends of a stream as plain logic, without a socket and with time passed in.
//
// A message that has an attachment opens a stream. Its bytes follow in chunks, in order and without holes. The sender
// may be limits::credit_bytes_window ahead; each `credit` lets it send so many bytes more. Either side may give the
// stream up. Streams of the side that connected have odd numbers, those of the other side even ones, and a number never
// comes again.

#include "net/codec.hpp"
#include "net/messages.hpp"
#include "runtime/bytes.hpp"
#include "runtime/digest.hpp"
#include "runtime/error.hpp"
#include "runtime/limits.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace fxfarm::net {

using clock = std::chrono::steady_clock;
using time_point = clock::time_point;

enum class side : std::uint8_t { connected, bound };

struct stream_bounds {
  std::size_t chunk_bytes = limits::chunk_bytes;
  std::size_t window_bytes = limits::credit_bytes_window;
  std::size_t streams_max = limits::streams_per_peer_max;
  std::size_t backlog_bytes_max = limits::peer_backlog_bytes_max;
  std::size_t attachment_bytes_max = limits::attachment_bytes_max;
  clock::duration silence_max = limits::stream_silence_max;
};

// The streams that go to one peer: up to streams_max are open and take turns, the others wait in line.
class stream_sender {
public:
  struct opening {
    bytes head;  // the message, encoded without an attachment
    attachment_info info;
  };
  struct piece {
    std::uint64_t stream;
    std::uint64_t offset;
    blob whole;  // keeps `data` alive
    byte_view data;
  };
  // monostate: nothing may be sent now.
  using step = std::variant<std::monostate, opening, piece>;

  stream_sender(side own, const stream_bounds& bounds);

  // Takes a message and its attachment in line; `too_large` past a bound.
  result<void> push(bytes head, blob content, std::string digest);
  // What is to be sent next; it counts as sent.
  step next(time_point now);
  // `protocol` when the peer gives what it cannot have.
  result<void> credited(const credit& given, time_point now);
  // The peer has given the stream up. Whether it was open.
  bool abort(std::uint64_t stream);
  // Gives up and returns the streams that have waited too long for credit.
  std::vector<std::uint64_t> expire(time_point now);
  // What the peer may have sent until now has not been read: no stream is without progress for it.
  void not_listened(time_point now);
  std::size_t backlog_bytes() const { return backlog_bytes_; }
  std::size_t waiting() const { return waiting_.size(); }  // in line, not open yet

private:
  struct outgoing {
    std::uint64_t stream;
    blob content;
    std::size_t offset = 0;
    std::size_t credit = 0;
    time_point progress;  // when it last had credit
  };
  struct in_line {
    bytes head;
    blob content;
    std::string digest;
  };
  using open_streams = std::deque<outgoing>;  // the one at the front has the turn

  step open(time_point now);
  step cut(open_streams::iterator from, time_point now);
  open_streams::iterator find(std::uint64_t stream);

  stream_bounds bounds_;
  std::uint64_t next_stream_;
  std::size_t backlog_bytes_ = 0;
  std::deque<in_line> waiting_;
  open_streams open_;
};

// The streams that come from one peer. An error means that the peer broke the rules.
class stream_receiver {
public:
  // A message whose attachment is complete and matches its digest.
  struct arrival {
    message head;
    blob content;
    std::string digest;
  };
  struct reception {
    std::optional<credit> grant;
    std::optional<arrival> complete;
  };

  stream_receiver(side own, const stream_bounds& bounds);

  // A message came that has an attachment; an empty one is complete at once.
  result<std::optional<arrival>> open(message head, const attachment_info& info, time_point now);
  // Chunks of a stream that was given up are still on their way for a while, and are passed over.
  result<reception> accept(const chunk& piece, time_point now);
  // The peer has given the stream up. Whether it was open.
  bool abort(std::uint64_t stream);
  // Gives up and returns the streams of which nothing came for too long.
  std::vector<std::uint64_t> expire(time_point now);
  // What the peer may have sent until now has not been read: no stream is without progress for it.
  void not_listened(time_point now);
  std::size_t held_bytes() const;

private:
  struct incoming {
    message head;
    attachment_info info;
    bytes content;
    digest_builder digest;
    std::size_t granted = 0;  // bytes that the peer may have sent by now
    time_point progress;
  };

  result<arrival> finish(incoming& stream);

  stream_bounds bounds_;
  std::uint64_t last_stream_ = 0;
  std::uint64_t parity_;
  std::size_t announced_bytes_ = 0;
  std::map<std::uint64_t, incoming> open_;
};

}  // namespace fxfarm::net
