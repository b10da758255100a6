#include "runtime/key_book.hpp"

#include "runtime/limits.hpp"
#include "runtime/secret_file.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm {

result<key_book::look> key_book::look_at() const {
  struct stat info {};
  if (::stat(path_.c_str(), &info) != 0) {
    return {errc::bad_config, option_ + ": " + path_ + " cannot be read: " + std::strerror(errno)};
  }
  // Whoever may write it says who may come in.
  if ((info.st_uid != ::geteuid() && info.st_uid != 0) || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return {errc::bad_config,
            option_ + ": " + path_ + " may be written by other users; run: chmod go-w " + path_ + ", and own it"};
  }
  const auto place = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  const auto stamp = place + ":" + std::to_string(info.st_size) + ":" + std::to_string(info.st_mtim.tv_sec) + ":" +
                     std::to_string(info.st_mtim.tv_nsec) + ":" + std::to_string(info.st_ctim.tv_sec) + ":" +
                     std::to_string(info.st_ctim.tv_nsec);
  const auto written = std::chrono::seconds(info.st_mtim.tv_sec) + std::chrono::nanoseconds(info.st_mtim.tv_nsec);
  return look{place, stamp, file_time(std::chrono::duration_cast<file_time::duration>(written))};
}

// By its own time; or, where a file's times are not by this clock, by what was seen before.
bool key_book::is_quiet(const look& seen, file_time now) {
  if (seen.written <= now && now - seen.written >= limits::authorized_keys_quiet) return true;
  if (std::exchange(changing_, seen.stamp) != seen.stamp) changing_since_ = now;
  return now - changing_since_ >= limits::authorized_keys_quiet;
}

result<std::shared_ptr<key_book>> key_book::open(const std::string& option, const std::string& path) {
  std::shared_ptr<key_book> book(new key_book(option, path));
  if (auto read = book->refresh(std::chrono::system_clock::now()); !read) return read.failure();
  return book;
}

std::shared_ptr<const authorized_keys> key_book::keys() const {
  std::lock_guard lock(mutex_);
  return keys_;
}

result<bool> key_book::refresh(file_time now) {
  const auto seen = look_at();
  // An absent file has a stamp of its own, so that it is told once.
  const auto stamp = seen ? seen->stamp : seen.failure().message;
  if (stamp == stamp_) return false;
  if (!seen) {
    stamp_ = stamp;
    place_.clear();  // what comes next is another file, whatever number it gets
    return seen.failure();
  }
  const bool written_in_place = keys_ && seen->place == place_;
  if (written_in_place && !is_quiet(*seen, now)) return false;
  auto text = read_secret_text({.option = option_, .path = path_, .bytes_max = limits::authorized_keys_bytes_max});
  if (!text) {
    // Perhaps it can be read the next time: the stamp stays as it was, and the reason is told once.
    const auto& why = text.failure().message;
    if (std::exchange(unread_, why) == why) return false;
    return text.failure();
  }
  unread_.clear();
  stamp_ = stamp;
  place_ = seen->place;
  if (keys_ && *text == text_) return false;
  auto parsed = authorized_keys::parse(*text);
  if (!parsed) return parsed.failure().with_context(option_ + ": " + path_);
  if (keys_ && !text->ends_with('\n')) {
    const std::string what =
        text->empty() ? " is empty; to have no keys in it, leave a comment" : ": its last line has no end";
    return {errc::bad_config, option_ + ": " + path_ + what + "; it is perhaps half written"};
  }
  text_ = *std::move(text);
  std::lock_guard lock(mutex_);
  keys_ = std::make_shared<const authorized_keys>(*std::move(parsed));
  return true;
}

}  // namespace fxfarm
