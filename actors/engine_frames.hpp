#pragma once
// What a worker and an engine process say to each other: msgpack maps with a "type", one per frame.
// docs/reference/engine-protocol.md describes the exchange for those who write another engine.

#include "actors/messages.hpp"

#include <map>
#include <string>
#include <variant>

namespace fxfarm::actors {

inline constexpr unsigned engine_protocol = 1;

struct engine_hello {
  unsigned protocol = 0;
  platform runs_on;
};
struct engine_ready {
  platform runs_on;
  double warm_seconds = 0;
  bool kernels = false;  // it takes single kernels, too
};
struct engine_progress {
  std::string id;
  std::string phase;
};
struct engine_done {
  std::string id;
  blob artifact;
  std::map<std::string, double> phases;  // seconds
};
struct engine_failed {
  std::string id;
  error why;
};
// For another engine to compile.
struct engine_kernel_wanted {
  std::string id;      // of the job
  std::string kernel;  // 1 to limits::kernel_name_bytes_max bytes
  blob source;
};
// The engine cannot work at all and is about to exit.
struct engine_fatal {
  error why;
};

using engine_report = std::variant<engine_hello, engine_ready, engine_progress, engine_done, engine_failed,
                                   engine_kernel_wanted, engine_fatal>;

bytes encode_compile(const engine_job& job);
bytes encode_kernel_answer(const engine_kernel_answer& answer);
bytes encode_shutdown();
// Errors: protocol, naming what is wrong.
result<engine_report> decode_report(byte_view body);

}  // namespace fxfarm::actors
