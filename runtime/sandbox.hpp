#pragma once
// What an engine may see and touch, as arguments for bubblewrap (bwrap(1)): a read-only system and Python, no network,
// no capabilities, namespaces of its own for processes and IPC, and of the files only what is named here.

#include "runtime/error.hpp"
#include "runtime/limits.hpp"

#include <string>
#include <vector>

namespace fxfarm {

struct sandbox_mount {
  enum class kind { link, read_only, device, hidden_file, hidden_directory, writable };
  std::string path;  // the same inside and outside
  kind how = kind::read_only;
  std::string target = {};  // of a link
};

// The same for all engines of a worker.
struct sandbox {
  std::string program;  // bwrap
  std::vector<sandbox_mount> mounts;
  std::vector<std::string> environment;  // names of variables that go in; one that ends in * stands for all so begun
  std::uint64_t temporary_bytes = limits::engine_shared_memory_bytes;  // of /tmp and /dev/shm each, in memory
};

// What one process gets beyond that.
struct sandbox_access {
  std::vector<std::string> writable;
  std::vector<std::string> read_only;
};

// What of this host's system an engine needs: programs, libraries, compilers, GPUs. Looks at the file system.
std::vector<sandbox_mount> system_mounts();

// GPUs, by their paths, and what their libraries want beside them: /sys to look for them. CUDA's driver finds none
// where it cannot name its threads, which is done in /proc: with a GPU of NVIDIA's the kernel's part of /proc is
// mounted read-only by itself, and then `confined` leaves the processes' part as it is. Looks at the file system;
// nothing without a device.
std::vector<sandbox_mount> device_mounts(const std::vector<std::string>& devices);

// What is read-only, as `paths` and where their links lead to; what is not there, is relative, is the root or can be
// seen by the mounts in `seen` is left out: nothing can be mounted on a link in one of these.
std::vector<sandbox_mount> readable(const std::vector<std::string>& paths, const std::vector<sandbox_mount>& seen = {});

// What lies below a path among `mounts` and is not to be seen; the rest cannot be seen anyway.
std::vector<sandbox_mount> hidden(const std::vector<std::string>& paths, const std::vector<sandbox_mount>& mounts);

// The command that runs `argv` in the sandbox. Its exit status is the program's, or 128 and the number of the signal
// that ended it.
std::vector<std::string> confined(const sandbox& box, const sandbox_access& more, const std::vector<std::string>& argv);

// The variables that go into a sandbox: what a compiler, Python, torch and a GPU's libraries are told by.
std::vector<std::string> sandbox_environment();
bool is_inherited(const sandbox& box, std::string_view variable);

}  // namespace fxfarm
