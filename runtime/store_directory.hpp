#pragma once
// A directory of artifacts, as its operator sees it: the disk tier of a store, or what was exported from one. A
// coordinator may be at work in it, since files appear by rename and carry their digest; looking marks nothing as used.

#include "runtime/disk_store.hpp"

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fxfarm {

class store_directory {
public:
  // Errors: not_found when there is no such directory, io when it cannot be used.
  static result<store_directory> open(std::filesystem::path directory);
  // Makes it for its owner only when it is not there. Errors: io.
  static result<store_directory> make(std::filesystem::path directory);

  // Those whose key begins so, last used first. Errors: io.
  result<std::vector<stored_entry>> list(const std::string& key = {}) const;
  // Whole and as it was written. Errors: not_found, corrupt saying what does not fit, io.
  result<stored> read(const std::string& key) const;
  result<void> write(const std::string& key, const stored& what) const;
  // Whether it was there.
  result<bool> remove(const std::string& key) const;

private:
  explicit store_directory(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::filesystem::path directory_;
  std::shared_ptr<disk_store> tier_;  // without a bound, so that it removes nothing by itself
};

// Of the entries, which must be the last used first, those that are to go so that the rest takes at most `bytes_max`
// and was used within `age_max` before `now`.
struct gc_rules {
  std::optional<std::uint64_t> bytes_max = {};
  std::optional<std::chrono::milliseconds> age_max = {};
};
std::vector<stored_entry> to_remove(const std::vector<stored_entry>& entries, const gc_rules& rules,
                                    std::chrono::system_clock::time_point now);

// What came of each artifact of a directory.
struct directory_report {
  struct fault {
    std::string key;
    error why;
  };
  std::size_t artifacts = 0;  // that are well
  std::uint64_t bytes = 0;    // of their files
  std::vector<fault> faults{};
};

// Reads each artifact and checks its digest and, unless `signatures` is null, who has signed it.
result<directory_report> verify(const store_directory& directory, const std::string& key = {},
                                const signature_check* signatures = nullptr);
// Writes each artifact of `from` whose key begins so into `to`, where it is written anew, with a digest of its own;
// what does not pass `verify` stays behind.
result<directory_report> copy(const store_directory& from, const store_directory& to, const std::string& key = {},
                              const signature_check* signatures = nullptr);

}  // namespace fxfarm
