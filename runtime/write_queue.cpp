#include "runtime/write_queue.hpp"

namespace fxfarm {
namespace {

std::uint64_t bytes_of(const write_queue::entry& e) {
  return e.what ? e.what->data->size() : 0;
}

}  // namespace

bool write_queue::push(const std::string& key, std::shared_ptr<const stored> what) {
  if (auto old = index_.find(key); old != index_.end()) erase(old->second);
  entry e{key, std::move(what), ++tickets_};
  const auto bytes = bytes_of(e);
  if (entries_.size() >= entries_max_ || bytes > bytes_max_ - bytes_) return false;
  entries_.push_back(std::move(e));
  index_[key] = std::prev(entries_.end());
  bytes_ += bytes;
  return true;
}

write_queue::entry write_queue::take_attempt() {
  ++entries_.front().attempts;
  return entries_.front();
}

void write_queue::finish(const entry& e) {
  auto it = index_.find(e.key);
  if (it != index_.end() && it->second->ticket == e.ticket) erase(it->second);
}

const write_queue::entry* write_queue::find(const std::string& key) const {
  auto it = index_.find(key);
  return it == index_.end() ? nullptr : &*it->second;
}

void write_queue::clear() {
  entries_.clear();
  index_.clear();
  bytes_ = 0;
}

void write_queue::erase(list::iterator it) {
  bytes_ -= bytes_of(*it);
  index_.erase(it->key);
  entries_.erase(it);
}

}  // namespace fxfarm
