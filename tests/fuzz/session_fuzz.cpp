// Frames of one peer after its handshake, chunks of attachments among them: each is a length of 16 bits and its bytes,
// or time that passes. What it holds of the peer stays within the bounds of a session.

#include "fuzz.hpp"
#include "net/session.hpp"

using namespace fxfarm;
using namespace std::chrono_literals;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  net::link_options options;
  options.messages_max = 64;
  options.enclosed_bytes_max = 256;
  options.streams = {.chunk_bytes = 64,
                     .window_bytes = 256,
                     .streams_max = 4,
                     .backlog_bytes_max = 1024,
                     .attachment_bytes_max = 4096};
  net::link_counters counters;
  net::time_point now{};
  net::session session(net::side::bound, options, counters, now);
  const auto write = [](const net::frame&) { return net::session::write_result::written; };
  fuzz::input in(data, size);
  for (bool alive = true; alive && !in.empty();) {
    const auto length = in.number();
    if (length == 0) {
      now += std::chrono::milliseconds(in.number());
      alive = session.tick(now).ok();
    } else if (auto came = net::decode(in.take(length))) {
      const auto got = session.receive(*std::move(came), now);
      using verdict = net::session::verdict;
      alive = got.what == verdict::nothing || got.what == verdict::deliver;
      fuzz::require(!got.attachment || got.attachment->size() <= options.streams.attachment_bytes_max,
                    "an attachment is within its bound");
    }
    session.flush(write, now);
    fuzz::require(!session.unsent(), "what a peer says is answered by a bounded number of frames");
  }
  return 0;
}
