#pragma once
// Artifacts in Redis. Of an artifact with stage key K:
//
//   PREFIX:2:{K}:head      the head of its file, see store_file.hpp
//   PREFIX:2:{K}:D:I       its data from I * limits::redis_chunk_bytes on, for I = 0, 1, ...; D: 16 digits of its
//   digest
//
// The braces put all of them into one slot of a cluster. The head is written last and names the digest, so a reader
// sees the whole of one artifact, or none, whoever writes at the same time. Everything expires after so long without
// being used. What does not match its digest is removed. Not thread-safe.

#include "runtime/redis_client.hpp"
#include "runtime/store.hpp"
#include "runtime/store_file.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace fxfarm {

struct redis_store_options {
  std::string prefix;
  std::chrono::milliseconds ttl{0};
  std::uint64_t value_bytes_max = 0;  // of one artifact's data
};

class redis_store {
public:
  using time_point = redis_port::time_point;

  redis_store(std::unique_ptr<redis_port> port, redis_store_options options);

  // Nothing when it is not there, not all of it, or larger than it may be. Errors: `corrupt` when it was there and had
  // to be removed; those of redis_port.
  result<std::optional<stored>> get(const std::string& key, time_point until);
  // Errors: `too_large`, those of redis_port.
  result<void> put(const std::string& key, const stored& what);
  result<void> remove(const std::string& key);
  // Whether Redis answers.
  result<void> ping();

private:
  std::string head_key(const std::string& key) const;
  std::string chunk_key(const std::string& key, const store_file_facts& facts, std::uint64_t index) const;
  // The data in as many chunks as it has; nothing when one of them is missing.
  result<std::optional<bytes>> get_data(const std::string& key, const store_file_facts& facts, time_point until);
  result<std::optional<stored>> get_whole(const std::string& key, time_point until);
  result<std::vector<redis_reply>> run(const std::string& key, const std::vector<redis_command>& commands,
                                       time_point until = time_point::max());

  const std::unique_ptr<redis_port> port_;
  const redis_store_options options_;
};

}  // namespace fxfarm
