#include "net/session.hpp"

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

namespace fxfarm::net {
namespace {

template <class T, class... Ts>
constexpr bool one_of = (std::is_same_v<T, Ts> || ...);

constexpr clock::duration heartbeat_min = std::chrono::milliseconds(10);
// So many messages go before a chunk gets its turn: neither can starve the other.
constexpr std::size_t frames_before_chunk = 16;
// "attachment" with its stream, size and digest.
constexpr std::size_t announcement_bytes_max = 128;

session::reception broken(error why) {
  return {session::verdict::broke_rules, {}, nullptr, std::move(why)};
}

result<void> too_many_wait(std::size_t bound) {
  return {errc::too_large, "more than " + std::to_string(bound) + " messages wait to be sent"};
}

result<void> fits_a_frame(const bytes& encoded, std::size_t more = 0) {
  const auto size = encoded.size() + more;
  if (size <= limits::frame_bytes_max) return {};
  return {errc::too_large, std::string(tag_in(encoded)) + " of " + std::to_string(size) + " bytes, at most " +
                               std::to_string(limits::frame_bytes_max)};
}

}  // namespace

session::session(side own, const link_options& options, link_counters& counters, time_point now)
    : options_(options),
      counters_(counters),
      sender_(own, options.streams),
      receiver_(own, options.streams),
      heard_(now),
      spoke_(now),
      ticked_(now) {}

result<void> session::push(bytes encoded, blob attachment, std::string digest) {
  if (!attachment) return enqueue(std::move(encoded));
  const auto whole_bytes = encoded.size() + attachment->size() + enclosing_bytes;
  if (attachment->size() <= enclosed_bytes_ && whole_bytes <= limits::frame_bytes_max) {
    return enqueue(enclose(std::move(encoded), *attachment, digest));
  }
  if (sender_.waiting() >= options_.messages_max) return too_many_wait(options_.messages_max);
  // Its stream gets a number when its turn comes.
  if (auto fits = fits_a_frame(encoded, announcement_bytes_max); !fits) return fits;
  return sender_.push(std::move(encoded), std::move(attachment), std::move(digest));
}

result<void> session::enqueue(bytes encoded) {
  if (frames_.size() >= options_.messages_max) return too_many_wait(options_.messages_max);
  if (auto fits = fits_a_frame(encoded); !fits) return fits;
  if (frames_bytes_ + encoded.size() > options_.streams.backlog_bytes_max) {
    return {errc::too_large,
            "more than " + std::to_string(options_.streams.backlog_bytes_max) + " bytes of messages wait to be sent"};
  }
  frames_bytes_ += encoded.size();
  frames_.push_back(std::move(encoded));
  return {};
}

session::write_result session::flush(const writer& write, time_point now) {
  while (true) {
    if (!staged_) staged_ = next_frame(now);
    if (!staged_) return write_result::written;
    const auto outcome = write(*staged_);
    if (outcome != write_result::written) return outcome;
    link_counters::add(counters_.messages_out);
    link_counters::add(counters_.bytes_out, staged_->size());
    staged_.reset();
    spoke_ = now;
  }
}

std::optional<frame> session::next_frame(time_point now) {
  if (frames_.empty() || frames_in_row_ >= frames_before_chunk) {
    frames_in_row_ = 0;
    if (auto next = next_stream_frame(now)) return next;
  }
  if (frames_.empty()) return std::nullopt;
  ++frames_in_row_;
  frame next{std::move(frames_.front())};
  frames_.pop_front();
  frames_bytes_ -= next.size();
  return next;
}

std::optional<frame> session::next_stream_frame(time_point now) {
  auto step = sender_.next(now);
  if (auto* opening = std::get_if<stream_sender::opening>(&step)) {
    return frame{announce(std::move(opening->head), opening->info)};
  }
  if (auto* piece = std::get_if<stream_sender::piece>(&step)) {
    link_counters::add(counters_.chunk_bytes_out, piece->data.size());
    return frame{encode_chunk_head(piece->stream, piece->offset, piece->data.size()), piece->data,
                 std::move(piece->whole)};
  }
  return std::nullopt;
}

session::reception session::receive(envelope&& came, time_point now) {
  heard_ = now;
  return std::visit(
      [&](auto& content) -> reception {
        using T = std::decay_t<decltype(content)>;
        if constexpr (!one_of<T, hello, welcome, heartbeat, goodbye, rejected, chunk, credit, stream_abort>) {
          return take_message(std::move(came), now);
        } else {
          if (came.attachment || came.enclosed)
            return broken({errc::protocol, std::string(T::tag) + ": cannot have an attachment"});
          if constexpr (one_of<T, hello, welcome>) {
            return broken({errc::protocol, std::string(T::tag) + ": the handshake is over"});
          } else if constexpr (one_of<T, goodbye>) {
            return {verdict::left, {}, nullptr, {errc::shutdown, std::move(content.reason)}};
          } else if constexpr (one_of<T, rejected>) {
            return {verdict::left,
                    {},
                    nullptr,
                    {errc_from_string(content.code), "rejected by the peer: " + content.reason}};
          } else if constexpr (one_of<T, chunk>) {
            return take_chunk(content, now);
          } else if constexpr (one_of<T, credit>) {
            if (auto taken = sender_.credited(content, now); !taken) return broken(taken.failure());
          } else if constexpr (one_of<T, stream_abort>) {
            abort_stream(content.stream);
          }
          return {};
        }
      },
      came.content);
}

session::reception session::take_message(envelope&& came, time_point now) {
  if (!came.attachment) {
    return {verdict::deliver, std::move(came.content), std::move(came.enclosed), {}, std::move(came.enclosed_digest)};
  }
  auto opened = receiver_.open(std::move(came.content), *came.attachment, now);
  if (!opened) return broken(opened.failure());
  if (!*opened) return {};
  auto& whole = **opened;
  return {verdict::deliver, std::move(whole.head), std::move(whole.content), {}, std::move(whole.digest)};
}

session::reception session::take_chunk(const chunk& piece, time_point now) {
  link_counters::add(counters_.chunk_bytes_in, piece.data.size());
  auto taken = receiver_.accept(piece, now);
  if (!taken) return broken(taken.failure());
  if (taken->grant) {
    if (auto queued = enqueue(encode(*taken->grant)); !queued) return broken(queued.failure());
  }
  if (!taken->complete) return {};
  auto& whole = *taken->complete;
  return {verdict::deliver, std::move(whole.head), std::move(whole.content), {}, std::move(whole.digest)};
}

void session::abort_stream(std::uint64_t stream) {
  if (sender_.abort(stream) || receiver_.abort(stream)) link_counters::add(counters_.streams_aborted);
}

void session::not_listened(time_point now) {
  heard_ = now;
  sender_.not_listened(now);
  receiver_.not_listened(now);
}

result<void> session::tick(time_point now) {
  ticked_ = now;
  if (now - heard_ >= options_.silence_max) {
    const auto silent = std::chrono::duration_cast<std::chrono::milliseconds>(now - heard_);
    return {errc::timeout, "silent for " + std::to_string(silent.count()) + " ms"};
  }
  for (const auto& given_up : {sender_.expire(now), receiver_.expire(now)}) {
    for (const auto stream : given_up) {
      link_counters::add(counters_.streams_aborted);
      if (auto queued = enqueue(encode(stream_abort{stream, "no progress for too long"})); !queued) return queued;
    }
  }
  // With something in line already, the peer hears us anyway as soon as the socket takes it.
  const bool nothing_in_line = frames_.empty() && !staged_;
  if (nothing_in_line && now - spoke_ >= options_.heartbeat_period) return enqueue(encode(heartbeat{}));
  return {};
}

time_point session::deadline() const {
  // A tick without effect, when the socket is full, must not be repeated at once.
  const auto speak = std::max(spoke_, ticked_) + options_.heartbeat_period;
  const auto hear = heard_ + options_.silence_max;
  return std::min(speak, hear);
}

void session::adopt_heartbeat(clock::duration wanted) {
  options_.heartbeat_period = std::min(options_.heartbeat_period, std::max(wanted, heartbeat_min));
}

void session::adopt_enclosed(std::uint64_t bytes) {
  enclosed_bytes_ = std::min<std::uint64_t>(options_.enclosed_bytes_max, bytes);
}

}  // namespace fxfarm::net
