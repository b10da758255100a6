#include "runtime/process_usage.hpp"

#include "runtime/limits.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <set>
#include <string_view>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fxfarm {
namespace {

// Files of /proc are read at once or they do not fit together.
std::string read_proc(const std::string& path) {
  constexpr std::size_t piece = 4 * limits::KiB;  // mostly a few bytes are there
  file_handle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  while (file && text.size() < limits::MiB) {
    const auto size = text.size();
    text.resize(size + piece);
    const auto n = ::read(file.get(), text.data() + size, piece);
    text.resize(size + static_cast<std::size_t>(std::max<::ssize_t>(n, 0)));
    if (n <= 0) break;
  }
  return text;
}

template <class F>
void for_each_number_in(const std::string& directory, F&& f) {
  DIR* opened = ::opendir(directory.c_str());
  if (opened == nullptr) return;
  while (const dirent* entry = ::readdir(opened)) {
    pid_t number = 0;
    const std::string_view name = entry->d_name;
    const auto [end, failure] = std::from_chars(name.begin(), name.end(), number);
    if (failure == std::errc() && end == name.end()) f(number);
  }
  ::closedir(opened);
}

template <class F>
void for_each_child(pid_t parent, F&& f) {
  const auto tasks = "/proc/" + std::to_string(parent) + "/task/";
  for_each_number_in(tasks, [&](pid_t task) {
    const auto text = read_proc(tasks + std::to_string(task) + "/children");
    for (std::string_view rest = text; !rest.empty();) {
      pid_t child = 0;
      const auto word = rest.substr(0, rest.find(' '));
      if (std::from_chars(word.begin(), word.end(), child).ec == std::errc()) f(child);
      rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    }
  });
}

// The fields of proc(5)'s stat that are wanted. A name may hold blanks and brackets.
struct process_facts {
  std::int64_t group = 0;
  std::uint64_t ticks = 0;
  std::uint64_t threads = 0;
  std::uint64_t resident_pages = 0;
};
process_facts facts_of(pid_t pid) {
  constexpr int group = 5, times = 14, threads = 20, resident = 24;
  const auto whole = read_proc("/proc/" + std::to_string(pid) + "/stat");
  std::string_view text = whole;
  text.remove_prefix(std::min(text.size(), text.rfind(')') + 1));
  process_facts out;
  for (int field = 2; !text.empty() && field <= resident; ++field) {
    const auto word = text.substr(0, text.find(' '));
    std::uint64_t value = 0;
    std::from_chars(word.begin(), word.end(), value);
    if (field == group) out.group = static_cast<std::int64_t>(value);
    if (field >= times && field < times + 4) out.ticks += value;  // utime, stime, cutime, cstime
    if (field == threads) out.threads = value;
    if (field == resident) out.resident_pages = value;
    text.remove_prefix(std::min(text.size(), word.size() + 1));
  }
  return out;
}

bool kernel_tells_children() {
  static const bool tells = ::access("/proc/thread-self/children", R_OK) == 0;
  return tells;
}

std::set<pid_t> tree_of(pid_t root) {
  std::set<pid_t> found{root};
  std::vector<pid_t> to_look_at{root};
  while (!to_look_at.empty()) {
    const auto next = to_look_at.back();
    to_look_at.pop_back();
    for_each_child(next, [&](pid_t child) {
      if (found.insert(child).second) to_look_at.push_back(child);
    });
  }
  return found;
}

}  // namespace

process_usage usage_of(pid_t root) {
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  static const auto ticks_per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  process_usage out;
  std::uint64_t ticks = 0;
  const auto add = [&](const process_facts& facts) {
    ++out.processes;
    out.threads += facts.threads;
    ticks += facts.ticks;
    out.resident_bytes += facts.resident_pages * page;
  };
  if (kernel_tells_children()) {
    for (auto pid : tree_of(root)) add(facts_of(pid));
  } else {
    for_each_number_in("/proc", [&](pid_t pid) {
      if (const auto facts = facts_of(pid); facts.group == root) add(facts);
    });
  }
  out.cpu = std::chrono::milliseconds(ticks * 1000 / ticks_per_second);
  return out;
}

std::uint64_t disk_usage(const std::vector<std::string>& directories, std::uint64_t enough) {
  namespace fs = std::filesystem;
  constexpr std::uint64_t block_bytes = 512;  // of st_blocks, whatever the file system's are
  std::uint64_t total = 0;
  for (const auto& directory : directories) {
    std::error_code failure;
    fs::recursive_directory_iterator it(directory, fs::directory_options::skip_permission_denied, failure), end;
    while (!failure && it != end && total <= enough) {
      struct stat found {};
      if (::lstat(it->path().c_str(), &found) == 0) {
        const auto blocks = static_cast<std::uint64_t>(found.st_blocks) * block_bytes;
        total += std::max<std::uint64_t>(blocks, limits::engine_file_cost_bytes);
      }
      it.increment(failure);
    }
  }
  return total;
}

std::vector<file_handle> open_children(pid_t parent) {
  std::vector<file_handle> out;
  for_each_child(parent, [&](pid_t child) {
    file_handle opened(static_cast<int>(::syscall(SYS_pidfd_open, child, 0U)));
    if (opened) out.push_back(std::move(opened));
  });
  return out;
}

}  // namespace fxfarm
