#pragma once
// Digests of attachments, computed on the thread that sends so that no socket waits for them. A blob goes to many
// subscribers, and many blobs to each, so as many as are on their way at a time are remembered.

#include "runtime/bytes.hpp"
#include "runtime/digest.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fxfarm::net {

class attachment_digests {
public:
  std::string of(const blob& content) {
    if (!content) return {};
    {
      std::lock_guard lock(mutex_);
      const auto known = known_.find(content.get());
      if (known != known_.end() && known->second.content.lock() == content) return known->second.digest;
    }
    auto digest = digest_hex(*content);
    std::lock_guard lock(mutex_);
    if (order_.size() < remembered_max) {
      order_.push_back(content.get());
    } else {
      known_.erase(std::exchange(order_[next_], content.get()));
      next_ = (next_ + 1) % remembered_max;
    }
    known_[content.get()] = {content, digest};
    return digest;
  }

private:
  static constexpr std::size_t remembered_max = 1'000;
  struct entry {
    std::weak_ptr<const bytes> content;
    std::string digest;
  };
  std::mutex mutex_;
  std::unordered_map<const bytes*, entry> known_;
  std::vector<const bytes*> order_;  // of known_, as a ring; the oldest is at next_
  std::size_t next_ = 0;
};

}  // namespace fxfarm::net
