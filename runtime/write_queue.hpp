#pragma once
// What waits to be written to a slower place: at most so many bytes and entries, oldest first, the newest word for each
// key. Not thread-safe.

#include "runtime/store.hpp"
#include "runtime/text_map.hpp"

#include <cstdint>
#include <list>
#include <memory>
#include <string>

namespace fxfarm {

class write_queue {
public:
  struct entry {
    std::string key;
    std::shared_ptr<const stored> what;  // null: a removal
    std::uint64_t ticket = 0;            // differs for each push
    unsigned attempts = 0;
  };

  write_queue(std::uint64_t bytes_max, std::size_t entries_max) : bytes_max_(bytes_max), entries_max_(entries_max) {}

  // False when there is no room; what waited under that key is gone then, too, since it is out of date.
  bool push(const std::string& key, std::shared_ptr<const stored> what);
  // The oldest, after counting an attempt at it. The queue must not be empty.
  entry take_attempt();
  // It is done or given up; nothing when its key has been pushed again meanwhile.
  void finish(const entry& e);
  // What waits under the key; null: nothing.
  const entry* find(const std::string& key) const;
  void clear();

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  std::uint64_t bytes() const { return bytes_; }

private:
  using list = std::list<entry>;

  void erase(list::iterator it);

  const std::uint64_t bytes_max_;
  const std::size_t entries_max_;
  list entries_;  // oldest first
  text_map<list::iterator> index_;
  std::uint64_t bytes_ = 0;
  std::uint64_t tickets_ = 0;
};

}  // namespace fxfarm
