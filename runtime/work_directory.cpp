#include "runtime/work_directory.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm {
namespace {

constexpr std::string_view stem = "fxfarm-work-";
constexpr unsigned names_max = 1000;  // of one process; each worker in it needs one

bool is_ours(const std::string& directory) {
  struct stat found {};
  return ::lstat(directory.c_str(), &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == ::geteuid();
}

void remove_abandoned(const std::string& parent) {
  std::vector<std::string> found;
  std::error_code failure;
  for (std::filesystem::directory_iterator it(parent, failure), end; !failure && it != end; it.increment(failure)) {
    if (it->path().filename().string().starts_with(stem) && is_ours(it->path())) found.push_back(it->path());
  }
  for (const auto& directory : found) {
    auto lock = process_lock::try_take(directory + ".lock");
    if (lock && *lock) remove_tree(directory);
  }
}

}  // namespace

void remove_tree(const std::string& directory) {
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
}

result<std::unique_ptr<work_directory>> work_directory::make(const std::string& parent) {
  remove_abandoned(parent);
  const auto prefix = parent + "/" + std::string(stem) + std::to_string(::getpid()) + "-";
  // A process with our number may live in another container that shares the parent.
  for (unsigned n = 0; n < names_max; ++n) {
    const auto path = prefix + std::to_string(n);
    auto lock = process_lock::try_take(path + ".lock");
    if (!lock) return lock.failure();
    if (!*lock) continue;
    if (::mkdir(path.c_str(), S_IRWXU) == 0) {
      return std::unique_ptr<work_directory>(new work_directory(path, std::move(*lock)));
    }
    if (errno != EEXIST) return {errc::io, path + ": " + std::strerror(errno)};
  }
  return {errc::io, prefix + "*: all names are taken"};
}

work_directory::~work_directory() {
  remove_tree(path_);
}

}  // namespace fxfarm
