#pragma once
// Digests of attachments, computed on the thread that sends so that no socket waits for them. A blob goes to many
// subscribers, so the last few are remembered.

#include "runtime/bytes.hpp"
#include "runtime/digest.hpp"

#include <array>
#include <memory>
#include <mutex>
#include <string>

namespace fxfarm::net {

class attachment_digests {
public:
  std::string of(const blob& content) {
    if (!content) return {};
    {
      std::lock_guard lock(mutex_);
      for (const auto& known : known_) {
        if (known.content.lock() == content) return known.digest;
      }
    }
    auto digest = digest_hex(*content);
    std::lock_guard lock(mutex_);
    known_[next_] = {content, digest};
    next_ = (next_ + 1) % known_.size();
    return digest;
  }

private:
  static constexpr std::size_t remembered = 16;
  struct entry {
    std::weak_ptr<const bytes> content;
    std::string digest;
  };
  std::mutex mutex_;
  std::array<entry, remembered> known_;
  std::size_t next_ = 0;
};

}  // namespace fxfarm::net
