#include "runtime/host_resources.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

#include <sched.h>
#include <unistd.h>

namespace fxfarm {
namespace {

std::string first_line(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// What the text begins with. "max" is no number, and no limit; nor is -1.
std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// A limit that the group with that directory has, in version 2 or 1 of control groups.
using read_limit = std::optional<std::uint64_t>(const std::string& group, bool unified);

std::optional<std::uint64_t> memory_of(const std::string& group, bool unified) {
  return number_in(first_line(group + (unified ? "/memory.max" : "/memory.limit_in_bytes")));
}

// Time of processors in each period, both in microseconds: version 2 has them in one file, with a space between.
std::optional<std::uint64_t> cpus_of(const std::string& group, bool unified) {
  auto text = first_line(group + (unified ? "/cpu.max" : "/cpu.cfs_quota_us"));
  if (!unified) text += ' ' + first_line(group + "/cpu.cfs_period_us");
  const auto space = text.find(' ');
  if (space == std::string::npos) return std::nullopt;
  const auto time = number_in(text), period = number_in(std::string_view(text).substr(space + 1));
  if (!time || !period || *period == 0) return std::nullopt;
  return std::max<std::uint64_t>(1, *time / *period + (*time % *period != 0 ? 1 : 0));
}

// cgroups(7): lines of ID:CONTROLLERS:PATH; version 2 has the line with the ID 0 and no controllers.
std::optional<std::uint64_t> least_limit(const std::string& memberships, const std::string& root,
                                         const std::string& controller, read_limit* limit_of) {
  std::optional<std::uint64_t> least;
  std::istringstream lines(memberships);
  for (std::string line; std::getline(lines, line);) {
    const auto controllers = line.find(':');
    const auto path = line.find(':', controllers + 1);
    if (controllers == std::string::npos || path == std::string::npos) continue;
    const auto names = ',' + line.substr(controllers + 1, path - controllers - 1) + ',';
    const bool unified = names == ",,";
    if (!unified && names.find(',' + controller + ',') == std::string::npos) continue;
    const auto top = root + (unified ? "" : '/' + controller);
    // From the group outwards. Within a container the path may be the host's, and only the top be there.
    for (auto group = line.substr(path + 1);; group.resize(group.rfind('/'))) {
      if (group == "/") group.clear();
      if (const auto limit = limit_of(top + group, unified)) least = std::min(least.value_or(*limit), *limit);
      if (group.find('/') == std::string::npos) break;
    }
  }
  return least;
}

std::string own_memberships() {
  std::ifstream in("/proc/self/cgroup");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

constexpr auto hierarchies = "/sys/fs/cgroup";

}  // namespace

std::optional<std::uint64_t> cgroup_memory_limit(const std::string& memberships, const std::string& root) {
  return least_limit(memberships, root, "memory", memory_of);
}

std::optional<std::uint64_t> cgroup_cpu_limit(const std::string& memberships, const std::string& root) {
  return least_limit(memberships, root, "cpu", cpus_of);
}

std::uint64_t host_memory_bytes() {
  const auto pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return 0;
  const auto all = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
  return std::min(all, cgroup_memory_limit(own_memberships(), hierarchies).value_or(all));
}

unsigned host_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  // More processors than a cpu_set_t has room for make it fail.
  const auto all = ::sched_getaffinity(0, sizeof(allowed), &allowed) == 0
                       ? static_cast<unsigned>(CPU_COUNT(&allowed))
                       : std::max(1u, std::thread::hardware_concurrency());
  const auto limit = cgroup_cpu_limit(own_memberships(), hierarchies).value_or(all);
  return static_cast<unsigned>(std::clamp<std::uint64_t>(limit, 1, all));
}

}  // namespace fxfarm
