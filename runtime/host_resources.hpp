#pragma once
// How much of the host there is for this process and all that it starts.

#include <cstdint>
#include <optional>
#include <string>

namespace fxfarm {

// The least of the host's memory and the limits of the control groups that this process is in; 0 where neither can be
// read.
std::uint64_t host_memory_bytes();

// The least of the processors that this process may run on and the time of them that its control groups allow, at least
// 1.
unsigned host_cores();

// The least limit of the groups that `memberships` names, the text of /proc/self/cgroup, and of those around them, with
// their hierarchies below `root`. None where there is none.
std::optional<std::uint64_t> cgroup_memory_limit(const std::string& memberships, const std::string& root);

// The same of processors, as many as have the time that is allowed; a part of one counts as one.
std::optional<std::uint64_t> cgroup_cpu_limit(const std::string& memberships, const std::string& root);

}  // namespace fxfarm
