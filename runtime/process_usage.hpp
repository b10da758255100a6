#pragma once
// What an engine and all that it has started use.

#include "runtime/file_handle.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

namespace fxfarm {

struct process_usage {
  std::uint64_t resident_bytes = 0;  // what is shared counts for each
  std::chrono::milliseconds cpu{0};  // with that of children that have ended and were waited for
  std::size_t processes = 0;
  std::uint64_t threads = 0;  // of all of them
};

// Of a process and its descendants, and of all others in its process group where the kernel does not tell a process's
// children. What ends meanwhile is left out. In a pid namespace nothing leaves the tree, however it detaches itself.
process_usage usage_of(pid_t root);

// Bytes that the files below the directories take, a file at least limits::engine_file_cost_bytes, since a file system
// runs out of names, too. Looks no further once it is more than `enough`.
std::uint64_t disk_usage(const std::vector<std::string>& directories, std::uint64_t enough);

// To wait for a process's children after it has ended, when they are no longer its.
std::vector<file_handle> open_children(pid_t parent);

}  // namespace fxfarm
