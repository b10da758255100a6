#include "runtime/key_book.hpp"

#include "runtime/limits.hpp"
#include "runtime/secret_file.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm {

// Differs whenever somebody has written or replaced the file.
result<std::string> key_book::stamp() const {
  struct stat info {};
  if (::stat(path_.c_str(), &info) != 0) {
    return {errc::bad_config, option_ + ": " + path_ + " cannot be read: " + std::strerror(errno)};
  }
  // Whoever may write it says who may come in.
  if ((info.st_uid != ::geteuid() && info.st_uid != 0) || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return {errc::bad_config,
            option_ + ": " + path_ + " may be written by other users; run: chmod go-w " + path_ + ", and own it"};
  }
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) + ":" + std::to_string(info.st_size) + ":" +
         std::to_string(info.st_mtim.tv_sec) + ":" + std::to_string(info.st_mtim.tv_nsec) + ":" +
         std::to_string(info.st_ctim.tv_sec) + ":" + std::to_string(info.st_ctim.tv_nsec);
}

result<std::shared_ptr<key_book>> key_book::open(const std::string& option, const std::string& path) {
  std::shared_ptr<key_book> book(new key_book(option, path));
  if (auto read = book->refresh(); !read) return read.failure();
  return book;
}

std::shared_ptr<const authorized_keys> key_book::keys() const {
  std::lock_guard lock(mutex_);
  return keys_;
}

result<bool> key_book::refresh() {
  const auto stamp = this->stamp();
  // An absent file has a stamp of its own, so that it is told once.
  const auto now = stamp ? *stamp : stamp.failure().message;
  if (now == stamp_) return false;
  if (!stamp) {
    stamp_ = now;
    return stamp.failure();
  }
  auto text = read_secret_text({.option = option_, .path = path_, .bytes_max = limits::authorized_keys_bytes_max});
  if (!text) {
    // Perhaps it can be read the next time: the stamp stays as it was, and the reason is told once.
    const auto& why = text.failure().message;
    if (std::exchange(unread_, why) == why) return false;
    return text.failure();
  }
  unread_.clear();
  stamp_ = now;
  if (keys_ && *text == text_) return false;
  auto parsed = authorized_keys::parse(*text);
  if (!parsed) return parsed.failure().with_context(option_ + ": " + path_);
  text_ = *std::move(text);
  std::lock_guard lock(mutex_);
  keys_ = std::make_shared<const authorized_keys>(*std::move(parsed));
  return true;
}

}  // namespace fxfarm
