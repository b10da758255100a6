#include "net/stream.hpp"

#include <algorithm>

namespace fxfarm::net {
namespace {

std::string name_of(std::uint64_t stream) {
  return "stream " + std::to_string(stream);
}

std::string more_than(std::size_t what, std::string_view unit, std::size_t bound) {
  return std::to_string(what) + " " + std::string(unit) + ", at most " + std::to_string(bound);
}

}  // namespace

// --- sender ----------------------------------------------------------------------------------------------------------

stream_sender::stream_sender(side own, const stream_bounds& bounds)
    : bounds_(bounds), next_stream_(own == side::connected ? 1 : 2) {}

result<void> stream_sender::push(bytes head, blob content, std::string digest) {
  const auto size = content->size();
  if (size > bounds_.attachment_bytes_max) {
    return {errc::too_large, "attachment: " + more_than(size, "bytes", bounds_.attachment_bytes_max)};
  }
  if (backlog_bytes_ + size > bounds_.backlog_bytes_max) {
    return {errc::too_large,
            "attachments in line: " + more_than(backlog_bytes_ + size, "bytes", bounds_.backlog_bytes_max)};
  }
  backlog_bytes_ += size;
  waiting_.push_back({std::move(head), std::move(content), std::move(digest)});
  return {};
}

stream_sender::step stream_sender::next(time_point now) {
  if (!waiting_.empty() && open_.size() < bounds_.streams_max) return open(now);
  const auto able = std::find_if(open_.begin(), open_.end(), [](const outgoing& s) { return s.credit > 0; });
  if (able == open_.end()) return {};
  return cut(able, now);
}

stream_sender::step stream_sender::open(time_point now) {
  auto first = std::move(waiting_.front());
  waiting_.pop_front();
  attachment_info info{next_stream_, first.content->size(), std::move(first.digest)};
  next_stream_ += 2;
  if (info.size > 0) open_.push_back({info.stream, std::move(first.content), 0, bounds_.window_bytes, now});
  return opening{std::move(first.head), std::move(info)};
}

stream_sender::step stream_sender::cut(open_streams::iterator from, time_point now) {
  auto stream = std::move(*from);
  open_.erase(from);
  const auto size = std::min({bounds_.chunk_bytes, stream.credit, stream.content->size() - stream.offset});
  piece out{stream.stream, stream.offset, stream.content, byte_view(*stream.content).subspan(stream.offset, size)};
  stream.offset += size;
  stream.credit -= size;
  stream.progress = now;
  backlog_bytes_ -= size;
  if (stream.offset < stream.content->size()) open_.push_back(std::move(stream));
  return out;
}

stream_sender::open_streams::iterator stream_sender::find(std::uint64_t stream) {
  return std::find_if(open_.begin(), open_.end(), [&](const outgoing& s) { return s.stream == stream; });
}

result<void> stream_sender::credited(const credit& given, time_point now) {
  if (given.stream % 2 != next_stream_ % 2 || given.stream >= next_stream_) {
    return {errc::protocol, "credit: " + name_of(given.stream) + " was never opened"};
  }
  const auto found = find(given.stream);
  if (found == open_.end()) return {};  // ended meanwhile
  if (given.bytes > bounds_.window_bytes - found->credit) {
    return {errc::protocol, "credit: " + name_of(given.stream) + " would get more than its window"};
  }
  found->credit += given.bytes;
  found->progress = now;
  return {};
}

bool stream_sender::abort(std::uint64_t stream) {
  const auto found = find(stream);
  if (found == open_.end()) return false;
  backlog_bytes_ -= found->content->size() - found->offset;
  open_.erase(found);
  return true;
}

void stream_sender::not_listened(time_point now) {
  for (auto& s : open_) s.progress = now;
}

std::vector<std::uint64_t> stream_sender::expire(time_point now) {
  std::vector<std::uint64_t> given_up;
  for (const auto& s : open_) {
    if (s.credit == 0 && now - s.progress >= bounds_.silence_max) given_up.push_back(s.stream);
  }
  for (const auto stream : given_up) abort(stream);
  return given_up;
}

// --- receiver --------------------------------------------------------------------------------------------------------

stream_receiver::stream_receiver(side own, const stream_bounds& bounds)
    : bounds_(bounds), parity_(own == side::connected ? 0 : 1) {}

result<std::optional<stream_receiver::arrival>> stream_receiver::open(message head, const attachment_info& info,
                                                                      time_point now) {
  if (info.stream % 2 != parity_ || info.stream <= last_stream_) {
    return {errc::protocol, "attachment: " + name_of(info.stream) + " is no new number of that side"};
  }
  if (info.size > bounds_.attachment_bytes_max) {
    return {errc::too_large, "attachment: " + more_than(info.size, "bytes", bounds_.attachment_bytes_max)};
  }
  if (open_.size() >= bounds_.streams_max) {
    return {errc::too_large, "attachment: " + more_than(open_.size() + 1, "open streams", bounds_.streams_max)};
  }
  if (announced_bytes_ + info.size > bounds_.backlog_bytes_max) {
    return {errc::too_large,
            "attachment: " + more_than(announced_bytes_ + info.size, "bytes on their way", bounds_.backlog_bytes_max)};
  }
  last_stream_ = info.stream;
  announced_bytes_ += info.size;
  auto& stream = open_.try_emplace(info.stream).first->second;
  stream.head = std::move(head);
  stream.info = info;
  stream.granted = bounds_.window_bytes;
  stream.progress = now;
  // What a peer announces is not memory yet: the buffer grows with what has come.
  stream.content.reserve(std::min<std::size_t>(info.size, bounds_.window_bytes));
  if (info.size > 0) return std::optional<arrival>{};
  auto complete = finish(stream);
  if (!complete) return complete.failure();
  return std::optional(std::move(*complete));
}

result<stream_receiver::reception> stream_receiver::accept(const chunk& piece, time_point now) {
  const auto found = open_.find(piece.stream);
  if (found == open_.end()) {
    if (piece.stream % 2 == parity_ && piece.stream <= last_stream_) return reception{};
    return {errc::protocol, "chunk: " + name_of(piece.stream) + " was never opened"};
  }
  auto& stream = found->second;
  const auto at = stream.content.size();
  if (piece.offset != at) {
    return {errc::protocol, "chunk: " + name_of(piece.stream) + " has a piece at " + std::to_string(piece.offset) +
                                ", expected " + std::to_string(at)};
  }
  if (piece.data.empty() || piece.data.size() > stream.info.size - at) {
    return {errc::protocol, "chunk: " + name_of(piece.stream) + " has a piece of " + std::to_string(piece.data.size()) +
                                " bytes, " + std::to_string(stream.info.size - at) + " are left"};
  }
  if (piece.data.size() > stream.granted - at) {
    return {errc::protocol, "chunk: " + name_of(piece.stream) + " is ahead of its credit"};
  }
  stream.content.insert(stream.content.end(), piece.data.begin(), piece.data.end());
  stream.digest.append(piece.data);
  stream.progress = now;

  reception out;
  if (stream.content.size() == stream.info.size) {
    auto complete = finish(stream);
    if (!complete) return complete.failure();
    out.complete = std::move(*complete);
    return out;
  }
  // Half a window at a time: few messages, and the sender does not run dry.
  const auto wanted = std::min<std::size_t>(stream.content.size() + bounds_.window_bytes, stream.info.size);
  if (wanted > stream.granted && stream.granted - stream.content.size() <= bounds_.window_bytes / 2) {
    out.grant = credit{piece.stream, wanted - stream.granted};
    stream.granted = wanted;
  }
  return out;
}

result<stream_receiver::arrival> stream_receiver::finish(incoming& stream) {
  arrival out{std::move(stream.head), make_blob(std::move(stream.content)), stream.digest.finish()};
  const auto info = std::move(stream.info);
  announced_bytes_ -= info.size;
  open_.erase(info.stream);
  if (out.digest != info.digest) {
    return {errc::corrupt,
            name_of(info.stream) + ": its bytes have the digest " + out.digest + ", announced was " + info.digest};
  }
  return out;
}

bool stream_receiver::abort(std::uint64_t stream) {
  const auto found = open_.find(stream);
  if (found == open_.end()) return false;
  announced_bytes_ -= found->second.info.size;
  open_.erase(found);
  return true;
}

void stream_receiver::not_listened(time_point now) {
  for (auto& [id, stream] : open_) stream.progress = now;
}

std::vector<std::uint64_t> stream_receiver::expire(time_point now) {
  std::vector<std::uint64_t> given_up;
  for (const auto& [id, stream] : open_) {
    if (now - stream.progress >= bounds_.silence_max) given_up.push_back(id);
  }
  for (const auto id : given_up) abort(id);
  return given_up;
}

std::size_t stream_receiver::held_bytes() const {
  std::size_t held = 0;
  for (const auto& [id, stream] : open_) held += stream.content.size();
  return held;
}

}  // namespace fxfarm::net
