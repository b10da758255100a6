#pragma once
// fork and exec with pipes. Only for engine_process.

#include "runtime/engine_process.hpp"
#include "runtime/file_handle.hpp"

#include <sys/types.h>

namespace fxfarm {

struct spawned_process {
  pid_t pid = -1;
  file_handle pidfd;
  file_handle input;   // we write, non-blocking
  file_handle output;  // we read, non-blocking
  file_handle log;     // its standard error; we read, non-blocking
};

// Starts the program in a session, and so in a process group, of its own; returns when it has been executed. The child
// is killed when the calling thread ends. Errors: `engine_start`, `bad_input`.
result<spawned_process> spawn(const engine_options& options);

}  // namespace fxfarm
