#include "cli/secret_file.hpp"

#include "runtime/file_handle.hpp"
#include "runtime/limits.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm::cli {
namespace {

// As Kubernetes mounts a secret: it belongs to root, and the group that the pod's processes are in may read it.
bool is_given_by_root(const struct stat& info) {
  return ::geteuid() != 0 && info.st_uid == 0 && (info.st_mode & (S_IWGRP | S_IRWXO)) == 0;
}

}  // namespace

result<std::string> read_secret(const secret_file& file) {
  const auto refuse = [&](const std::string& why) {
    return error{errc::bad_config, file.option + ": " + file.path + why};
  };
  const auto unreadable = [&] { return refuse(std::string(" cannot be read: ") + std::strerror(errno)); };
  const file_handle from(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!from) return unreadable();
  struct stat info {};
  if (::fstat(from.get(), &info) != 0) return unreadable();
  if (file.owner_only && !is_given_by_root(info)) {
    if (info.st_uid != ::geteuid()) return refuse(" belongs to another user");
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
      return refuse(" is open to other users; run: chmod 600 " + file.path);
    }
  }
  // A line's end, and one byte to tell that there is more.
  std::string text(file.bytes_max + 3, '\0');
  std::size_t have = 0;
  while (have < text.size()) {
    const auto n = ::read(from.get(), text.data() + have, text.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return unreadable();
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  text.resize(have);
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) return refuse(" is empty");
  if (text.size() > file.bytes_max || text.find('\n') != std::string::npos) {
    return refuse(" has more than one line of at most " + std::to_string(file.bytes_max) + " bytes");
  }
  if (text.size() < file.bytes_min) {
    return refuse(" is too short: want at least " + std::to_string(file.bytes_min) + " bytes");
  }
  const auto is_printable = [](char c) { return c > ' ' && c <= '~'; };
  if (file.printable && !std::all_of(text.begin(), text.end(), is_printable)) {
    return refuse(" has blanks or what is not ASCII: want letters, digits and signs");
  }
  return text;
}

result<std::string> read_admin_token(const std::string& path) {
  return read_secret({.option = "admin_token_file",
                      .path = path,
                      .bytes_min = limits::admin_token_bytes_min,
                      .bytes_max = limits::admin_token_bytes_max,
                      .printable = true,
                      .owner_only = true});
}

}  // namespace fxfarm::cli
