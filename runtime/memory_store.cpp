#include "runtime/memory_store.hpp"

namespace fxfarm {
namespace {

// What an artifact costs beside its bytes, so that empty ones are bounded, too.
constexpr std::size_t entry_overhead_bytes = 256;

std::size_t cost_of(const stored& what) {
  return what.data->size() + entry_overhead_bytes;
}

}  // namespace

memory_store::memory_store(std::size_t bytes_max, std::shared_ptr<const store_reporter> reporter)
    : bytes_max_(bytes_max), reporter_(std::move(reporter)) {}

result<std::optional<stored>> memory_store::get(const std::string& key) {
  const auto found = get_at_once(key);
  return found ? std::optional(*found) : std::nullopt;
}

std::shared_ptr<const stored> memory_store::get_at_once(const std::string& key) {
  std::lock_guard lock(mutex_);
  auto found = index_.find(key);
  if (found == index_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  found->second->used = std::chrono::system_clock::now();
  return found->second->what;
}

result<void> memory_store::put(const std::string& key, const stored& what) {
  const auto size = cost_of(what);
  if (size > bytes_max_) {
    return {errc::too_large, "an artifact of " + std::to_string(what.data->size()) + " bytes does not fit into the " +
                                 std::to_string(bytes_max_) + " bytes of the memory tier"};
  }
  auto kept = std::make_shared<stored>(what);
  kept->tier = name();
  std::vector<std::size_t> evicted;
  std::size_t bytes_now = 0;
  {
    std::lock_guard lock(mutex_);
    if (auto old = index_.find(key); old != index_.end()) erase(old->second);
    while (bytes_ + size > bytes_max_) {
      evicted.push_back(cost_of(*entries_.back().what));
      erase(std::prev(entries_.end()));
    }
    entries_.push_front({key, std::move(kept), std::chrono::system_clock::now()});
    index_[key] = entries_.begin();
    bytes_ += size;
    bytes_now = bytes_;
  }
  for (auto bytes : evicted) reporter_->evicted(name(), bytes);
  reporter_->resized(name(), bytes_now);
  return {};
}

result<bool> memory_store::remove(const std::string& key) {
  std::size_t bytes_now = 0;
  {
    std::lock_guard lock(mutex_);
    auto found = index_.find(key);
    if (found == index_.end()) return false;
    erase(found->second);
    bytes_now = bytes_;
  }
  reporter_->resized(name(), bytes_now);
  return true;
}

result<std::vector<stored_entry>> memory_store::list() {
  std::lock_guard lock(mutex_);
  std::vector<stored_entry> all;
  all.reserve(entries_.size());
  for (const auto& e : entries_) all.push_back({e.key, e.what->data->size(), e.used, std::string(name())});
  return all;
}

result<void> memory_store::drop(const unwanted& is_unwanted) {
  std::vector<std::pair<std::string, artifact_signature>> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& e : entries_) all.emplace_back(e.key, e.what->signature);
  }
  // Whoever is asked may report, which must not happen under the lock.
  for (const auto& [key, by] : all) {
    if (!is_unwanted(by)) continue;
    if (auto removed = remove(key); !removed) return removed.failure();
  }
  return {};
}

void memory_store::erase(lru_list::iterator it) {
  bytes_ -= cost_of(*it->what);
  index_.erase(it->key);
  entries_.erase(it);
}

}  // namespace fxfarm
