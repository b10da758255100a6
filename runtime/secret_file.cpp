#include "runtime/secret_file.hpp"

#include "runtime/file_handle.hpp"
#include "runtime/limits.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm {
namespace {

constexpr std::size_t room_bytes = 4096;

// As Kubernetes mounts a secret: it belongs to root, and the group that the pod's processes are in may read it.
bool is_given_by_root(const struct stat& info) {
  return ::geteuid() != 0 && info.st_uid == 0 && (info.st_mode & (S_IWGRP | S_IRWXO)) == 0;
}

error refused(const secret_file& file, const std::string& why) {
  return {errc::bad_config, file.option + ": " + file.path + why};
}

// At most `bytes_max`, and one to tell that there is more.
result<std::string> read_up_to(const secret_file& file, std::size_t bytes_max) {
  const auto unreadable = [&] { return refused(file, std::string(" cannot be read: ") + std::strerror(errno)); };
  const file_handle from(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!from) return unreadable();
  struct stat info {};
  if (::fstat(from.get(), &info) != 0) return unreadable();
  if (file.owner_only && !is_given_by_root(info)) {
    if (info.st_uid != ::geteuid()) return refused(file, " belongs to another user");
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
      return refused(file, " is open to other users; run: chmod 600 " + file.path);
    }
  }
  // Room as the file has bytes: it is kept as long as the text.
  std::string text;
  for (std::size_t have = 0; have <= bytes_max;) {
    text.resize(std::min(have + std::max(have, room_bytes), bytes_max + 1));
    const auto n = ::read(from.get(), text.data() + have, text.size() - have);
    if (n < 0 && errno != EINTR) return unreadable();
    have += n > 0 ? static_cast<std::size_t>(n) : 0;
    text.resize(have);
    if (n == 0) break;
  }
  return text;
}

}  // namespace

result<std::string> read_secret_text(const secret_file& file) {
  auto text = read_up_to(file, file.bytes_max);
  if (text && text->size() > file.bytes_max) {
    return refused(file, " has more than " + std::to_string(file.bytes_max) + " bytes");
  }
  return text;
}

result<std::string> read_token(const std::string& option, const std::string& path) {
  return read_secret({.option = option,
                      .path = path,
                      .bytes_min = limits::admin_token_bytes_min,
                      .bytes_max = limits::admin_token_bytes_max,
                      .printable = true,
                      .owner_only = true});
}

result<std::string> read_secret(const secret_file& file) {
  constexpr std::size_t line_end_bytes = 2;
  auto read = read_up_to(file, file.bytes_max + line_end_bytes);
  if (!read) return read;
  auto& text = *read;
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) return refused(file, " is empty");
  if (text.size() > file.bytes_max || text.find('\n') != std::string::npos) {
    return refused(file, " has more than one line of at most " + std::to_string(file.bytes_max) + " bytes");
  }
  if (text.size() < file.bytes_min) {
    return refused(file, " is too short: want at least " + std::to_string(file.bytes_min) + " bytes");
  }
  const auto is_printable = [](char c) { return c > ' ' && c <= '~'; };
  if (file.printable && !std::all_of(text.begin(), text.end(), is_printable)) {
    return refused(file, " has blanks or what is not ASCII: want letters, digits and signs");
  }
  return read;
}

}  // namespace fxfarm
