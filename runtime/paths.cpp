#include "runtime/paths.hpp"

#include "runtime/limits.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm {

environment process_environment() {
  environment env;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    std::string_view text(*entry);
    if (auto equals = text.find('='); equals != std::string_view::npos) {
      env.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return env;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name.front() == '\0') return "localhost";
  return name.data();
}

namespace paths {
namespace {

// The XDG specification has relative paths ignored.
std::string absolute_from(const environment& env, std::string_view name) {
  auto it = env.find(name);
  return it != env.end() && it->second.starts_with('/') ? it->second : std::string();
}

error os_error(const std::string& what) {
  return {errc::io, what + ": " + std::strerror(errno)};
}

}  // namespace

std::string runtime_directory(const environment& env, unsigned uid) {
  if (auto xdg = absolute_from(env, "XDG_RUNTIME_DIR"); !xdg.empty()) return xdg + "/fxfarm";
  auto temporary = absolute_from(env, "TMPDIR");
  return (temporary.empty() ? "/tmp" : temporary) + "/fxfarm-" + std::to_string(uid);
}

std::string cache_directory(const environment& env, unsigned uid) {
  if (auto xdg = absolute_from(env, "XDG_CACHE_HOME"); !xdg.empty()) return xdg + "/fxfarm";
  if (auto home = absolute_from(env, "HOME"); !home.empty()) return home + "/.cache/fxfarm";
  return runtime_directory(env, uid) + "/cache";
}

std::string default_config_file(const environment& env) {
  if (auto xdg = absolute_from(env, "XDG_CONFIG_HOME"); !xdg.empty()) return xdg + "/fxfarm/config.toml";
  if (auto home = absolute_from(env, "HOME"); !home.empty()) return home + "/.config/fxfarm/config.toml";
  return {};
}

result<void> make_private(const std::string& directory) {
  std::filesystem::path path(directory);
  std::error_code failure;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), failure);
  if (failure) return {errc::io, path.parent_path().string() + ": " + failure.message()};
  if (::mkdir(directory.c_str(), S_IRWXU) != 0 && errno != EEXIST) return os_error(directory);

  struct stat found {};
  if (::lstat(directory.c_str(), &found) != 0) return os_error(directory);
  if (!S_ISDIR(found.st_mode)) return {errc::refused, directory + " is not a directory"};
  if (found.st_uid != ::geteuid()) {
    return {errc::refused, directory + " belongs to user " + std::to_string(found.st_uid) + ", not to us"};
  }
  if ((found.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return {errc::refused, directory + " is open to other users; run: chmod 700 " + directory};
  }
  return {};
}

result<std::string> local_socket(const std::string& directory, std::string_view environment_tag) {
  bool plain = !environment_tag.empty() && std::all_of(environment_tag.begin(), environment_tag.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
  });
  if (!plain) {
    return {errc::bad_input, "environment tag \"" + std::string(environment_tag) + "\": want letters, digits, - and _"};
  }
  auto file = directory + "/local-" + std::string(environment_tag) + ".sock";
  if (file.size() > limits::socket_path_bytes_max) {
    return {errc::too_large, file + ": a socket's path has at most " + std::to_string(limits::socket_path_bytes_max) +
                                 " bytes; set XDG_RUNTIME_DIR or TMPDIR to a shorter one"};
  }
  return file;
}

std::vector<std::string> local_sockets(const std::string& directory) {
  std::vector<std::string> found;
  std::error_code failure;
  for (std::filesystem::directory_iterator it(directory, failure), end; !failure && it != end; it.increment(failure)) {
    auto name = it->path().filename().string();
    if (name.starts_with("local-") && name.ends_with(".sock")) found.push_back(it->path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string lock_beside(std::string_view socket_file) {
  constexpr std::string_view suffix = ".sock";
  auto stem = socket_file.ends_with(suffix) ? socket_file.substr(0, socket_file.size() - suffix.size()) : socket_file;
  return std::string(stem) + ".lock";
}

}  // namespace paths
}  // namespace fxfarm
