#pragma once
// What a socket thread has seen so far. It counts with relaxed atomics; any thread may read, each value on its own.

#include "monitoring/metrics.hpp"
#include "runtime/error.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace fxfarm::net {

// Why a peer did not come so far as to be heard.
enum class refusal : std::uint8_t {
  unknown_key,       // it is not authorized
  no_key,            // the peer wants to talk unencrypted
  wrong_server_key,  // the peer expects a coordinator with another key
  malformed,         // it does not speak as ZeroMQ does
  unfinished,        // it left, or was too slow
  wrong_role,        // its key has no right to be what it says it is
  revoked,           // its key, or that right of it, was taken away while it was connected
  no_hello,          // it was connected and no peer for too long
  too_many,          // its address has as many connections as it may that are no peer's
};
inline constexpr std::array<std::string_view, 9> refusal_names{"unknown_key", "no_key",     "wrong_server_key",
                                                               "malformed",   "unfinished", "wrong_role",
                                                               "revoked",     "no_hello",   "too_many"};

struct link_counters {
  using counter = std::atomic<std::uint64_t>;
  static constexpr std::size_t codes = static_cast<std::size_t>(errc::internal) + 1;

  counter messages_in{0};  // frames of every kind, chunks too
  counter messages_out{0};
  counter bytes_in{0};
  counter bytes_out{0};
  counter chunk_bytes_in{0};  // payload of attachments
  counter chunk_bytes_out{0};
  counter peers_up{0};                                  // now
  counter reconnects{0};                                // attempts after the first, of a dialer
  counter streams_aborted{0};                           // in both directions
  std::array<counter, codes> rejected{};                // messages and handshakes that were not accepted, by errc
  std::array<counter, refusal_names.size()> refused{};  // peers; most reasons only where keys are on

  static void add(counter& c, std::uint64_t n = 1) { c.fetch_add(n, std::memory_order_relaxed); }
  static void take(counter& c) { c.fetch_sub(1, std::memory_order_relaxed); }
  counter& rejected_for(errc code) { return rejected[static_cast<std::size_t>(code)]; }
  const counter& rejected_for(errc code) const { return rejected[static_cast<std::size_t>(code)]; }

  counter& refused_for(refusal why) { return refused[static_cast<std::size_t>(why)]; }
  const counter& refused_for(refusal why) const { return refused[static_cast<std::size_t>(why)]; }

  // As metrics show them.
  monitoring::link_counters read() const {
    auto get = [](const counter& c) { return c.load(std::memory_order_relaxed); };
    monitoring::link_counters out;
    out.messages_received = get(messages_in);
    out.messages_sent = get(messages_out);
    out.bytes_received = get(bytes_in);
    out.bytes_sent = get(bytes_out);
    out.chunk_bytes_received = get(chunk_bytes_in);
    out.chunk_bytes_sent = get(chunk_bytes_out);
    for (std::size_t code = 0; code < codes; ++code) {
      if (const auto count = get(rejected[code])) out.rejected[std::string(to_string(static_cast<errc>(code)))] = count;
    }
    for (std::size_t why = 0; why < refusal_names.size(); ++why) {
      out.refused[std::string(refusal_names[why])] = get(refused[why]);
    }
    out.peers = get(peers_up);
    out.reconnects = get(reconnects);
    out.streams_aborted = get(streams_aborted);
    return out;
  }
};

}  // namespace fxfarm::net
