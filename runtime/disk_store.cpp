#include "runtime/disk_store.hpp"

#include "runtime/digest.hpp"
#include "runtime/file_handle.hpp"
#include "runtime/store_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>

namespace fxfarm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view temp_prefix = ".tmp-";
// Past its bound a tenth is freed, so that not every put at the bound looks through the directory; and it is looked
// through after each sixteenth that was written, so that what other processes write is seen.
constexpr std::uint64_t freed_share = 10;
constexpr std::uint64_t unseen_share = 16;

error io_error(const std::string& what, const fs::path& path, int why) {
  return {errc::io, what + " " + path.string() + ": " + std::strerror(why)};
}

// mkdir -p for the owner only; a directory that exists keeps its mode.
result<void> make_directory(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  const int why = errno;
  if (why != ENOENT || !path.has_parent_path()) return io_error("cannot create the directory", path, why);
  if (auto parent = make_directory(path.parent_path()); !parent) return parent;
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return io_error("cannot create the directory", path, errno);
}

result<void> write_all(int fd, byte_view data, const fs::path& path) {
  while (!data.empty()) {
    auto n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("cannot write", path, errno);
    data = data.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

result<void> sync_directory(const fs::path& path) {
  file_handle dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || ::fsync(dir.get()) != 0) return io_error("cannot sync the directory", path, errno);
  return {};
}

std::chrono::system_clock::time_point to_time(const timespec& t) {
  return std::chrono::system_clock::time_point(std::chrono::duration_cast<std::chrono::system_clock::duration>(
      std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec)));
}

// The kernel's own idea of "now" advances by ticks of milliseconds; files used within one would have no order.
void mark_used(int fd) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const timespec times[2] = {now, now};
  // Best effort: on a read-only mount the file only ages faster.
  (void)::futimens(fd, times);
}

// Calls `visit(path, file name, stat)` for each regular file of each shard, up to the bound of entries. Files that
// vanish meanwhile are passed over: another process shares the directory.
template <class F>
result<void> for_each_file(const fs::path& directory, F&& visit) {
  std::error_code why;
  std::size_t seen = 0;
  for (fs::directory_iterator shard(directory, why), end; !why && shard != end; shard.increment(why)) {
    if (shard->path().filename().native().size() != 2) continue;
    std::error_code shard_why;
    for (fs::directory_iterator file(shard->path(), shard_why), last; !shard_why && file != last;
         file.increment(shard_why)) {
      if (++seen > limits::store_entries_max) return {};
      struct stat info {};
      if (::lstat(file->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
      visit(file->path(), file->path().filename().native(), info);
    }
  }
  if (why && why != std::errc::no_such_file_or_directory) {
    return {errc::io, "cannot look through " + directory.string() + ": " + why.message()};
  }
  return {};
}

}  // namespace

result<std::unique_ptr<disk_store>> disk_store::open(fs::path directory, std::uint64_t bytes_max,
                                                     std::shared_ptr<const store_reporter> reporter) {
  if (auto made = make_directory(directory); !made) return made.failure().with_context("store");
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) return io_error("store: cannot use the directory", directory, errno);
  if (!S_ISDIR(info.st_mode)) return io_error("store: cannot use the directory", directory, ENOTDIR);
  if (::faccessat(AT_FDCWD, directory.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
    return io_error("store: no permission on the directory", directory, errno);
  }
  std::unique_ptr<disk_store> opened(new disk_store(std::move(directory), bytes_max, std::move(reporter)));
  opened->remove_leftovers();
  opened->make_room();
  return opened;
}

disk_store::disk_store(fs::path directory, std::uint64_t bytes_max, std::shared_ptr<const store_reporter> reporter)
    : directory_(std::move(directory)), bytes_max_(bytes_max), reporter_(std::move(reporter)) {}

result<std::optional<stored>> disk_store::get(const std::string& key) {
  const auto path = path_of(key);
  file_handle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) {
    if (errno == ENOENT) return std::optional<stored>{};
    return io_error("cannot open", path, errno);
  }
  auto what = read_store_file(file.get(), key);
  if (what) {
    mark_used(file.get());
    return std::optional(std::move(*what));
  }
  if (what.failure().code != errc::corrupt) return what.failure().with_context(path.string());
  struct stat info {};
  const bool known = ::fstat(file.get(), &info) == 0;
  if (::unlink(path.c_str()) == 0) {
    account_removed(known ? static_cast<std::uint64_t>(info.st_size) : 0);
  } else if (errno != ENOENT) {
    return io_error("corrupt, and cannot remove", path, errno);
  }
  return what.failure().with_context(path.string() + " was removed");
}

result<void> disk_store::put(const std::string& key, const stored& what) {
  auto head = store_file_head(key, what);
  if (!head) return head.failure();
  const auto size = head->size() + what.data->size();
  if (size > bytes_max_) {
    return {errc::too_large, "an artifact of " + std::to_string(what.data->size()) + " bytes does not fit into the " +
                                 std::to_string(bytes_max_) + " bytes of the disk tier"};
  }
  if (auto written = write_file(key, *head, *what.data); !written) return written;
  account_written(size);
  return {};
}

result<void> disk_store::write_file(const std::string& key, byte_view head, byte_view data) {
  const auto shard = shard_of(key);
  // Each time, since somebody may have removed the directory under us.
  if (auto made = make_directory(shard); !made) return made;
  std::string temp = (shard / (std::string(temp_prefix) + "XXXXXX")).string();
  file_handle file(::mkostemp(temp.data(), O_CLOEXEC));  // mode 0600
  if (!file) return io_error("cannot create a file in", shard, errno);
  auto written = write_all(file.get(), head, temp);
  if (written) written = write_all(file.get(), data, temp);
  if (written) mark_used(file.get());
  if (written && ::fsync(file.get()) != 0) written = io_error("cannot sync", temp, errno);
  if (written && ::rename(temp.c_str(), path_of(key).c_str()) != 0) {
    written = io_error("cannot rename to " + key, temp, errno);
  }
  if (!written) {
    ::unlink(temp.c_str());
    return written;
  }
  return sync_directory(shard);
}

result<bool> disk_store::remove(const std::string& key) {
  const auto path = path_of(key);
  struct stat info {};
  const bool known = ::lstat(path.c_str(), &info) == 0;
  if (::unlink(path.c_str()) != 0) {
    if (errno == ENOENT) return false;
    return io_error("cannot remove", path, errno);
  }
  account_removed(known ? static_cast<std::uint64_t>(info.st_size) : 0);
  return true;
}

result<std::vector<stored_entry>> disk_store::list() {
  std::vector<stored_entry> all;
  auto looked = for_each_file(directory_, [&](const fs::path&, const std::string& file, const struct stat& info) {
    if (is_digest(file)) {
      all.push_back({file, static_cast<std::uint64_t>(info.st_size), to_time(info.st_mtim), std::string(name())});
    }
  });
  if (!looked) return looked.failure();
  return all;
}

result<void> disk_store::drop(const unwanted& is_unwanted) {
  auto entries = list();
  if (!entries) return entries.failure();
  for (const auto& e : *entries) {
    const file_handle file(::open(path_of(e.key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file) continue;
    // What cannot be read is found when it is asked for.
    const auto by = read_store_file_signature(file.get());
    if (!by || !is_unwanted(*by)) continue;
    if (auto removed = remove(e.key); !removed) return removed.failure();
  }
  return {};
}

void disk_store::remove_leftovers() {
  const auto oldest = std::chrono::system_clock::now() - limits::store_temp_age_max;
  auto looked = for_each_file(directory_, [&](const fs::path& path, const std::string& file, const struct stat& info) {
    if (file.starts_with(temp_prefix) && to_time(info.st_mtim) < oldest) ::unlink(path.c_str());
  });
  if (!looked) reporter_->failed(name(), looked.failure());
}

void disk_store::account_written(std::uint64_t size) {
  bool look = false;
  std::uint64_t bytes_now = 0;
  {
    std::lock_guard lock(mutex_);
    bytes_ += size;
    bytes_unseen_ += size;
    bytes_now = bytes_;
    look = bytes_ > bytes_max_ || bytes_unseen_ > bytes_max_ / unseen_share;
  }
  if (look) {
    make_room();
  } else {
    reporter_->resized(name(), bytes_now);
  }
}

void disk_store::account_removed(std::uint64_t size) {
  std::uint64_t bytes_now = 0;
  {
    std::lock_guard lock(mutex_);
    bytes_ -= std::min(bytes_, size);
    bytes_now = bytes_;
  }
  reporter_->resized(name(), bytes_now);
}

void disk_store::make_room() {
  std::vector<std::uint64_t> evicted;
  std::vector<error> failures;
  std::uint64_t total = 0;
  {
    std::lock_guard one_at_a_time(room_mutex_);
    auto entries = list();
    if (entries) {
      for (const auto& e : *entries) total += e.bytes;
      if (total > bytes_max_) total = evict(*entries, total, evicted, failures);
      std::lock_guard lock(mutex_);
      bytes_ = total;
      bytes_unseen_ = 0;
    } else {
      failures.push_back(entries.failure());
    }
  }
  for (const auto bytes : evicted) reporter_->evicted(name(), bytes);
  for (const auto& why : failures) reporter_->failed(name(), why);
  if (failures.empty()) reporter_->resized(name(), total);
}

std::uint64_t disk_store::evict(std::vector<stored_entry>& entries, std::uint64_t total,
                                std::vector<std::uint64_t>& evicted, std::vector<error>& failures) const {
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.used < b.used; });
  // The newest stays: it was just put, and by itself it fits.
  for (std::size_t i = 0; i + 1 < entries.size() && total > bytes_max_ - bytes_max_ / freed_share; ++i) {
    const auto path = path_of(entries[i].key);
    if (::unlink(path.c_str()) == 0) {
      evicted.push_back(entries[i].bytes);
    } else if (errno != ENOENT) {  // another process was faster: just as well
      failures.push_back(io_error("cannot evict", path, errno));
      continue;
    }
    total -= entries[i].bytes;
  }
  return total;
}

}  // namespace fxfarm
