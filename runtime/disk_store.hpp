#pragma once
// The durable tier of the store: one file for each artifact, in <directory>/<first 2 digits of the key>/<key>. Several
// processes may share the directory: files appear by rename, carry their digest, and their modification time is the
// time they were last used.

#include "runtime/store.hpp"

#include <mutex>

namespace fxfarm {

class disk_store final : public store_tier {
public:
  // Creates the directory for its owner only, removes what crashed writers left, and makes room when it holds more than
  // `bytes_max`. Errors: `io` naming the directory and the reason.
  static result<std::unique_ptr<disk_store>> open(std::filesystem::path directory, std::uint64_t bytes_max,
                                                  std::shared_ptr<const store_reporter> reporter);

  std::string_view name() const override { return "disk"; }
  // A file that does not match its digest is removed and is `corrupt`.
  result<std::optional<stored>> get(const std::string& key) override;
  // When it returns, the artifact survives a crash of the machine. Errors: `io`, `too_large`.
  result<void> put(const std::string& key, const stored& what) override;
  result<bool> remove(const std::string& key) override;
  result<std::vector<stored_entry>> list() override;
  // Believes the files' heads: what they tell of their signers is checked only when they are read.
  result<void> drop(const unwanted& is_unwanted) override;

private:
  disk_store(std::filesystem::path directory, std::uint64_t bytes_max, std::shared_ptr<const store_reporter> reporter);

  std::filesystem::path shard_of(const std::string& key) const { return directory_ / key.substr(0, 2); }
  std::filesystem::path path_of(const std::string& key) const { return shard_of(key) / key; }
  result<void> write_file(const std::string& key, byte_view head, byte_view data);
  void remove_leftovers();
  void account_written(std::uint64_t bytes);
  void account_removed(std::uint64_t bytes);
  // Looks through the directory and removes the least recently used files until it holds no more than it may.
  void make_room();
  // Returns what is left of `total` after removing the oldest of `entries`.
  std::uint64_t evict(std::vector<stored_entry>& entries, std::uint64_t total, std::vector<std::uint64_t>& evicted,
                      std::vector<error>& failures) const;

  const std::filesystem::path directory_;
  const std::uint64_t bytes_max_;
  const std::shared_ptr<const store_reporter> reporter_;
  std::mutex room_mutex_;           // one thread makes room at a time
  std::mutex mutex_;                // guards what follows
  std::uint64_t bytes_ = 0;         // estimate: other processes write, too
  std::uint64_t bytes_unseen_ = 0;  // written by us since the directory was looked through
};

}  // namespace fxfarm
