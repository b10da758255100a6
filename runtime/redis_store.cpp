#include "runtime/redis_store.hpp"

#include "runtime/limits.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

constexpr std::size_t digest_chars_in_key = 16;

std::uint64_t chunks_of(std::uint64_t bytes) {
  return (bytes + limits::redis_chunk_bytes - 1) / limits::redis_chunk_bytes;
}

std::size_t bytes_of_chunk(std::uint64_t index, std::uint64_t bytes) {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(limits::redis_chunk_bytes, bytes - index * limits::redis_chunk_bytes));
}

std::string digits(std::chrono::milliseconds duration) {
  return std::to_string(duration.count());
}

}  // namespace

redis_store::redis_store(std::unique_ptr<redis_port> port, redis_store_options options)
    : port_(std::move(port)), options_(std::move(options)) {}

result<std::optional<stored>> redis_store::get(const std::string& key, time_point until) {
  auto found = get_whole(key, until);
  if (found || found.failure().code != errc::corrupt) return found;
  if (auto removed = remove(key); !removed) {
    return error{errc::corrupt, found.failure().message + ", and cannot be removed: " + removed.failure().message};
  }
  return found.failure().with_context(key + " was removed");
}

result<std::optional<stored>> redis_store::get_whole(const std::string& key, time_point until) {
  const std::optional<stored> nothing;
  auto got = run(key, {{"GET", head_key(key)}, {"PEXPIRE", head_key(key), digits(options_.ttl)}}, until);
  if (!got) return got.failure();
  if (got->front().is == redis_reply::kind::nothing) return nothing;
  const auto head = view_of(got->front().text);
  auto facts = look_at_store_file_head(head);
  if (!facts) return facts.failure();
  if (facts->data_bytes > options_.value_bytes_max) return nothing;
  auto data = get_data(key, *facts, until);
  if (!data) return data.failure();
  if (!*data) {
    // Redis evicts or expires keys one by one. What is left of the artifact does so, too, when nothing leads to it.
    auto removed = run(key, {{"DEL", head_key(key)}});
    if (!removed) return removed.failure();
    return nothing;
  }
  auto what = join_store_file(key, head, **std::move(data));
  if (!what) return what.failure();
  return std::optional(*std::move(what));
}

result<std::optional<bytes>> redis_store::get_data(const std::string& key, const store_file_facts& facts,
                                                   time_point until) {
  bytes data;
  const auto chunks = chunks_of(facts.data_bytes);
  for (std::uint64_t first = 0; first < chunks; first += limits::redis_window_chunks) {
    const auto end = std::min<std::uint64_t>(chunks, first + limits::redis_window_chunks);
    std::vector<redis_command> commands;
    for (auto i = first; i < end; ++i) commands.push_back({"GET", chunk_key(key, facts, i)});
    for (auto i = first; i < end; ++i) {
      commands.push_back({"PEXPIRE", chunk_key(key, facts, i), digits(options_.ttl)});
    }
    auto got = run(key, commands, until);
    if (!got) return got.failure();
    for (auto i = first; i < end; ++i) {
      const auto& reply = (*got)[i - first];
      if (reply.is == redis_reply::kind::nothing) return std::optional<bytes>();
      if (reply.text.size() != bytes_of_chunk(i, facts.data_bytes)) return {errc::corrupt, "a chunk has another size"};
      const auto chunk = view_of(reply.text);
      data.insert(data.end(), chunk.begin(), chunk.end());
    }
  }
  return std::optional(std::move(data));
}

result<void> redis_store::put(const std::string& key, const stored& what) {
  if (what.data->size() > options_.value_bytes_max) {
    return {errc::too_large, "an artifact of " + std::to_string(what.data->size()) + " bytes, Redis gets at most " +
                                 std::to_string(options_.value_bytes_max)};
  }
  auto head = store_file_head(key, what);
  if (!head) return head.failure();
  auto facts = look_at_store_file_head(*head);
  if (!facts) return facts.failure();
  const auto text = text_of(*what.data);
  const auto chunks = chunks_of(text.size());
  for (std::uint64_t first = 0; first < chunks; first += limits::redis_window_chunks) {
    std::vector<redis_command> commands;
    for (auto i = first; i < std::min<std::uint64_t>(chunks, first + limits::redis_window_chunks); ++i) {
      const auto chunk = text.substr(i * limits::redis_chunk_bytes, bytes_of_chunk(i, text.size()));
      commands.push_back({"SET", chunk_key(key, *facts, i), std::string(chunk), "PX", digits(options_.ttl)});
    }
    if (auto set = run(key, commands); !set) return set.failure();
  }
  auto set = run(key, {{"SET", head_key(key), std::string(text_of(*head)), "PX", digits(options_.ttl)}});
  if (!set) return set.failure();
  return {};
}

result<void> redis_store::remove(const std::string& key) {
  auto got = run(key, {{"GET", head_key(key)}});
  if (!got) return got.failure();
  // One by one: while a slot moves between nodes of a cluster, its keys may be at two of them.
  std::vector<redis_command> removals{{"DEL", head_key(key)}};
  // Of a head that cannot be read the chunks cannot be found: they expire.
  auto facts = look_at_store_file_head(view_of(got->front().text));
  if (facts && facts->data_bytes <= options_.value_bytes_max) {
    for (std::uint64_t i = 0; i < chunks_of(facts->data_bytes); ++i)
      removals.push_back({"DEL", chunk_key(key, *facts, i)});
  }
  auto removed = run(key, removals);
  if (!removed) return removed.failure();
  return {};
}

result<void> redis_store::ping() {
  auto answered = run({}, {{"PING"}});
  if (!answered) return answered.failure();
  return {};
}

result<std::vector<redis_reply>> redis_store::run(const std::string& key, const std::vector<redis_command>& commands,
                                                  time_point until) {
  // The tag in the braces is what tells the slot.
  auto got = port_->run(head_key(key), commands, until);
  if (got && got->size() != commands.size()) return {errc::protocol, "not as many answers as commands"};
  return got;
}

std::string redis_store::head_key(const std::string& key) const {
  return options_.prefix + ":2:{" + key + "}:head";
}

std::string redis_store::chunk_key(const std::string& key, const store_file_facts& facts, std::uint64_t index) const {
  return options_.prefix + ":2:{" + key + "}:" + facts.digest.substr(0, digest_chars_in_key) + ":" +
         std::to_string(index);
}

}  // namespace fxfarm
