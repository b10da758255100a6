// Chunks, credit and silence in any order at both ends of a stream, which need not have to do with each other.

#include "fuzz.hpp"
#include "net/stream.hpp"

using namespace fxfarm;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const net::stream_bounds bounds{
      .chunk_bytes = 16, .window_bytes = 64, .streams_max = 3, .backlog_bytes_max = 512, .attachment_bytes_max = 256};
  net::stream_sender sender(net::side::bound, bounds);
  net::stream_receiver receiver(net::side::bound, bounds);
  net::time_point now{};
  fuzz::input in(data, size);
  bool sending = true, receiving = true;
  while (!in.empty()) {
    const auto what = in.byte();
    const std::uint64_t stream = in.byte();
    switch (what % 8) {
      case 0:
        if (receiving) {
          const std::uint64_t length = in.number();
          const auto content = in.take(length);
          receiving = receiver.open(net::heartbeat{}, {stream, length, digest_hex(content)}, now).ok();
        }
        break;
      case 1:
        if (receiving) {
          const std::uint64_t offset = in.number();
          const auto piece = in.take(in.byte());
          auto got = receiver.accept({stream, offset, bytes(piece.begin(), piece.end())}, now);
          receiving = got.ok();
          if (got && got->complete) {
            fuzz::require(got->complete->content->size() <= bounds.attachment_bytes_max,
                          "an attachment is within its bound");
          }
        }
        break;
      case 2:
        receiver.abort(stream);
        break;
      case 3:
        now += std::chrono::seconds(in.byte());
        receiver.expire(now);
        sender.expire(now);
        break;
      case 4: {
        const auto content = in.take(in.number() % 600);
        (void)sender.push(bytes(4), make_blob({content.begin(), content.end()}), digest_hex(content));
        break;
      }
      case 5:
        if (sending) sending = sender.credited({stream, in.number()}, now).ok();
        break;
      case 6:
        sender.abort(stream);
        break;
      default:
        if (const auto step = sender.next(now); std::holds_alternative<net::stream_sender::piece>(step)) {
          fuzz::require(std::get<net::stream_sender::piece>(step).data.size() <= bounds.chunk_bytes,
                        "a chunk is within its bound");
        }
    }
    fuzz::require(receiver.held_bytes() <= bounds.streams_max * bounds.attachment_bytes_max, "what is held is bounded");
    fuzz::require(sender.backlog_bytes() <= bounds.backlog_bytes_max, "what waits is bounded");
  }
  return 0;
}
