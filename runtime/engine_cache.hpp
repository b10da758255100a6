#pragma once
// Where engines keep compiled kernels: one directory for one engine at a time, and never one that has served another
// namespace, since whoever writes there decides what the next engine runs.

#include "runtime/error.hpp"
#include "runtime/process_lock.hpp"

#include <memory>
#include <optional>
#include <string>

namespace fxfarm {

class engine_cache {
public:
  // The first directory of the namespace below `base` that no other process has, made when there is none. `space` is
  // empty for all that share their artifacts. What an engine leaves behind serves the next one. Errors: `io` naming the
  // file, `refused` for a directory that others could write to, `busy` when there are too many.
  static result<std::unique_ptr<engine_cache>> claim(const std::string& base, const std::string& space);
  // Whom to expect first, by the isolated namespaces that have had directories below `base`: the only one; none of them
  // yet: all that share, whose name is empty; nothing: several have, and who comes first is not known.
  static std::optional<std::string> tenant_to_expect(const std::string& base);
  // The directory for precompiled headers, which all engines read. Errors: as above.
  static result<std::string> headers(const std::string& base);

  const std::string& directory() const { return directory_; }
  // Whether it is still there and ours: once it or the lock is deleted, another process may make and claim it anew.
  bool holds() const;

private:
  engine_cache(std::string directory, std::unique_ptr<process_lock> lock)
      : directory_(std::move(directory)), lock_(std::move(lock)) {}

  std::string directory_;
  std::unique_ptr<process_lock> lock_;
};

}  // namespace fxfarm
