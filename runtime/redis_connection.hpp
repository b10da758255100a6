#pragma once
// One connection to one Redis server: commands go out together, their answers come back in order. Not thread-safe.

#include "runtime/redis_stream.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fxfarm {

// The command's name and its arguments.
using redis_command = std::vector<std::string>;

struct redis_reply {
  enum class kind { nothing, text, number, list, failure };
  kind is = kind::nothing;
  std::string text;  // of a failure its message, which starts with a word in capitals
  std::int64_t number = 0;
  std::vector<redis_reply> items;
};

class redis_connection {
public:
  using time_point = redis_stream::time_point;

  static result<std::unique_ptr<redis_connection>> open(const redis_address& address, const redis_tls* tls,
                                                        time_point until);
  explicit redis_connection(std::unique_ptr<redis_stream> stream);
  ~redis_connection();

  // One answer for each command; a failure that the server tells is an answer. After an error the connection is of no
  // use any more. Errors: `unreachable`, `timeout`, `protocol` for what is no answer of Redis or too much of it.
  result<std::vector<redis_reply>> run(const std::vector<redis_command>& commands, time_point until);

private:
  struct parser;

  std::unique_ptr<redis_stream> stream_;
  std::unique_ptr<parser> parser_;
};

}  // namespace fxfarm
