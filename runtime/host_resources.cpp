#include "runtime/host_memory.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include <unistd.h>

namespace fxfarm {
namespace {

std::string first_line(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// "max" is no number, and no limit.
std::optional<std::uint64_t> number_in(const std::string& file) {
  const auto text = first_line(file);
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

}  // namespace

// cgroups(7): lines of ID:CONTROLLERS:PATH; version 2 has the line with the ID 0 and no controllers.
std::optional<std::uint64_t> cgroup_memory_limit(const std::string& memberships, const std::string& root) {
  std::optional<std::uint64_t> least;
  std::istringstream lines(memberships);
  for (std::string line; std::getline(lines, line);) {
    const auto controllers = line.find(':');
    const auto path = line.find(':', controllers + 1);
    if (controllers == std::string::npos || path == std::string::npos) continue;
    const auto names = ',' + line.substr(controllers + 1, path - controllers - 1) + ',';
    const bool unified = names == ",,";
    if (!unified && names.find(",memory,") == std::string::npos) continue;
    const auto top = root + (unified ? "" : "/memory");
    const std::string file = unified ? "/memory.max" : "/memory.limit_in_bytes";
    // From the group outwards. Within a container the path may be the host's, and only the top be there.
    for (auto group = line.substr(path + 1);; group.resize(group.rfind('/'))) {
      if (group == "/") group.clear();
      if (const auto limit = number_in(top + group + file)) least = std::min(least.value_or(*limit), *limit);
      if (group.find('/') == std::string::npos) break;
    }
  }
  return least;
}

std::uint64_t host_memory_bytes() {
  const auto pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return 0;
  const auto all = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
  std::ifstream in("/proc/self/cgroup");
  std::stringstream memberships;
  memberships << in.rdbuf();
  return std::min(all, cgroup_memory_limit(memberships.str(), "/sys/fs/cgroup").value_or(all));
}

}  // namespace fxfarm
