#include "runtime/redis_connection.hpp"

#include "runtime/limits.hpp"

#include <hiredis/hiredis.h>

namespace fxfarm {
namespace {

redis_reply converted(const redisReply& from) {
  redis_reply to;
  switch (from.type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      to.is = redis_reply::kind::text;
      to.text.assign(from.str, from.len);
      break;
    case REDIS_REPLY_ERROR:
      to.is = redis_reply::kind::failure;
      to.text.assign(from.str, from.len);
      break;
    case REDIS_REPLY_INTEGER:
      to.is = redis_reply::kind::number;
      to.number = from.integer;
      break;
    case REDIS_REPLY_ARRAY:
      to.is = redis_reply::kind::list;
      for (std::size_t i = 0; i < from.elements; ++i) to.items.push_back(converted(*from.element[i]));
      break;
    default:  // nil
      break;
  }
  return to;
}

result<std::string> formatted(const redis_command& command) {
  std::vector<const char*> words;
  std::vector<std::size_t> sizes;
  for (const auto& word : command) {
    words.push_back(word.data());
    sizes.push_back(word.size());
  }
  char* raw = nullptr;
  const int size = ::redisFormatCommandArgv(&raw, static_cast<int>(words.size()), words.data(), sizes.data());
  if (size < 0) return {errc::internal, "no memory for a command"};
  const std::unique_ptr<char, decltype(&::redisFreeCommand)> owned(raw, ::redisFreeCommand);
  return std::string(raw, static_cast<std::size_t>(size));
}

}  // namespace

struct redis_connection::parser {
  std::unique_ptr<redisReader, decltype(&::redisReaderFree)> reader{::redisReaderCreate(), ::redisReaderFree};

  result<void> feed(std::string_view data) {
    if (reader && ::redisReaderFeed(reader.get(), data.data(), data.size()) == REDIS_OK) return {};
    return no_answer();
  }
  // The next answer, when all of it has come; it goes to the end of `into`.
  result<bool> next(std::vector<redis_reply>& into) {
    void* raw = nullptr;
    if (!reader || ::redisReaderGetReply(reader.get(), &raw) != REDIS_OK) return no_answer();
    if (raw == nullptr) return false;
    const std::unique_ptr<void, decltype(&::freeReplyObject)> owned(raw, ::freeReplyObject);
    into.push_back(converted(*static_cast<redisReply*>(raw)));
    return true;
  }
  error no_answer() const {
    return {errc::protocol, std::string("no answer of Redis: ") + (reader ? reader->errstr : "")};
  }
};

result<std::unique_ptr<redis_connection>> redis_connection::open(const redis_address& address, const redis_tls* tls,
                                                                 time_point until) {
  auto stream = redis_stream::connect(address, tls, until);
  if (!stream) return stream.failure();
  return std::make_unique<redis_connection>(*std::move(stream));
}

redis_connection::redis_connection(std::unique_ptr<redis_stream> stream)
    : stream_(std::move(stream)), parser_(std::make_unique<parser>()) {}
redis_connection::~redis_connection() = default;

result<std::vector<redis_reply>> redis_connection::run(const std::vector<redis_command>& commands, time_point until) {
  for (const auto& command : commands) {
    auto text = formatted(command);
    if (!text) return text.failure();
    if (auto sent = stream_->write(*text, until); !sent) return sent.failure();
  }
  std::vector<redis_reply> replies;
  std::size_t received = 0;
  std::string buffer(64 * limits::KiB, '\0');
  while (true) {
    while (replies.size() < commands.size()) {
      auto complete = parser_->next(replies);
      if (!complete) return complete.failure();
      if (!*complete) break;
    }
    if (replies.size() == commands.size()) return replies;
    auto n = stream_->read(buffer, until);
    if (!n) return n.failure();
    received += *n;
    if (received > limits::redis_answers_bytes_max) return {errc::protocol, "the answer is too large"};
    if (auto fed = parser_->feed(std::string_view(buffer).substr(0, *n)); !fed) return fed.failure();
  }
}

}  // namespace fxfarm
