#pragma once
// What a socket thread has seen so far. It counts with relaxed atomics; any thread may read, each value on its own.

#include "monitoring/metrics.hpp"
#include "runtime/error.hpp"

#include <array>
#include <atomic>
#include <cstdint>

namespace fxfarm::net {

struct link_counters {
  using counter = std::atomic<std::uint64_t>;
  static constexpr std::size_t codes = static_cast<std::size_t>(errc::internal) + 1;

  counter messages_in{0};  // frames of every kind, chunks too
  counter messages_out{0};
  counter bytes_in{0};
  counter bytes_out{0};
  counter chunk_bytes_in{0};  // payload of attachments
  counter chunk_bytes_out{0};
  counter peers_up{0};                    // now
  counter reconnects{0};                  // attempts after the first, of a dialer
  counter streams_aborted{0};             // in both directions
  std::array<counter, codes> rejected{};  // messages and handshakes that were not accepted, by errc

  static void add(counter& c, std::uint64_t n = 1) { c.fetch_add(n, std::memory_order_relaxed); }
  static void take(counter& c) { c.fetch_sub(1, std::memory_order_relaxed); }
  counter& rejected_for(errc code) { return rejected[static_cast<std::size_t>(code)]; }
  const counter& rejected_for(errc code) const { return rejected[static_cast<std::size_t>(code)]; }

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
    out.peers = get(peers_up);
    out.reconnects = get(reconnects);
    out.streams_aborted = get(streams_aborted);
    return out;
  }
};

}  // namespace fxfarm::net
