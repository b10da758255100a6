#pragma once
// The fastest tier of the store: least recently used artifacts make room for new ones.

#include "runtime/store.hpp"
#include "runtime/text_map.hpp"

#include <list>
#include <mutex>

namespace fxfarm {

class memory_store final : public store_tier {
public:
  // Holds at most `bytes_max` of artifacts.
  memory_store(std::size_t bytes_max, std::shared_ptr<const store_reporter> reporter);

  std::string_view name() const override { return "memory"; }
  bool is_own_memory() const override { return true; }
  std::shared_ptr<const stored> get_at_once(const std::string& key) override;
  result<std::optional<stored>> get(const std::string& key) override;
  // Errors: `too_large` for an artifact that would not fit into an empty tier.
  result<void> put(const std::string& key, const stored& what) override;
  result<bool> remove(const std::string& key) override;
  result<std::vector<stored_entry>> list() override;
  result<void> drop(const unwanted& is_unwanted) override;

private:
  struct entry {
    std::string key;
    std::shared_ptr<const stored> what;
    std::chrono::system_clock::time_point used;
  };
  using lru_list = std::list<entry>;

  void erase(lru_list::iterator it);

  const std::size_t bytes_max_;
  const std::shared_ptr<const store_reporter> reporter_;
  std::mutex mutex_;  // guards what follows
  lru_list entries_;  // most recently used first
  text_map<lru_list::iterator> index_;
  std::size_t bytes_ = 0;
};

}  // namespace fxfarm
