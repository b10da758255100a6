#include "runtime/engine_cache.hpp"

#include "runtime/digest.hpp"
#include "runtime/limits.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm {
namespace {

constexpr const char* isolated = "/spaces";
constexpr const char* name_file = "name";  // of the namespace, in its directory

result<void> make_own(const std::string& directory) {
  std::error_code failure;
  std::filesystem::create_directories(std::filesystem::path(directory).parent_path(), failure);
  if (::mkdir(directory.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    return {errc::io, directory + ": " + std::strerror(errno)};
  }
  struct stat found {};
  if (::stat(directory.c_str(), &found) != 0) return {errc::io, directory + ": " + std::strerror(errno)};
  if (!S_ISDIR(found.st_mode)) return {errc::io, directory + " is no directory"};
  if (found.st_uid != ::geteuid() || (found.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return {errc::refused, directory + " belongs to or can be written by other users"};
  }
  return {};
}

// A digest, since a namespace's name may hold what a file's may not.
std::string directory_of(const std::string& base, const std::string& space) {
  return space.empty() ? base : base + isolated + "/" + digest_hex(view_of(space));
}

}  // namespace

result<std::unique_ptr<engine_cache>> engine_cache::claim(const std::string& base, const std::string& space) {
  if (auto made = make_own(base); !made) return made.failure();
  const auto parent = directory_of(base, space);
  if (!space.empty()) {
    if (auto made = make_own(base + isolated); !made) return made.failure();
    if (auto made = make_own(parent); !made) return made.failure();
    std::ofstream(parent + "/" + name_file) << space << '\n';  // without it nobody is expected
  }
  for (unsigned number = 0; number < limits::engine_caches_max; ++number) {
    auto directory = parent + "/" + std::to_string(number);
    auto lock = process_lock::try_take(directory + ".lock");
    if (!lock) return lock.failure();
    if (!*lock) continue;
    // A job can open what is its engine's to others; the next engine closes it again. Never follows a link.
    struct stat found {};
    if (::lstat(directory.c_str(), &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == ::geteuid()) {
      ::chmod(directory.c_str(), S_IRWXU);
    }
    if (auto made = make_own(directory); !made) return made.failure();
    return std::unique_ptr<engine_cache>(new engine_cache(std::move(directory), std::move(*lock)));
  }
  return {errc::busy, parent + ": " + std::to_string(limits::engine_caches_max) + " engines use it already"};
}

std::optional<std::string> engine_cache::tenant_to_expect(const std::string& base) {
  std::error_code none;
  std::optional<std::string> only;
  for (std::filesystem::directory_iterator it(base + isolated, none), end; !none && it != end; it.increment(none)) {
    const auto& directory = *it;
    if (only) return std::nullopt;
    std::ifstream file(directory.path() / name_file);
    std::string name;
    // One that does not name its directory is not what was written there.
    if (!std::getline(file, name) || directory_of(base, name) != directory.path()) return std::nullopt;
    only = std::move(name);
  }
  return only ? only : std::string();
}

result<std::string> engine_cache::headers(const std::string& base) {
  if (auto made = make_own(base); !made) return made.failure();
  auto directory = base + "/headers";
  if (auto made = make_own(directory); !made) return made.failure();
  return directory;
}

bool engine_cache::holds() const {
  struct stat found {};
  return lock_->holds() && ::stat(directory_.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

}  // namespace fxfarm
