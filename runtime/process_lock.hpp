#pragma once
// A lock among processes, held by whoever serves a socket. It goes with the process, however that ends.

#include "runtime/error.hpp"

#include <memory>
#include <optional>
#include <string>

namespace fxfarm {

class process_lock {
public:
  // Null when another process holds it. Errors: `io` naming the file.
  static result<std::unique_ptr<process_lock>> try_take(const std::string& file);
  // Releases it and removes the file, if that is still ours.
  ~process_lock();
  process_lock(const process_lock&) = delete;
  process_lock& operator=(const process_lock&) = delete;

  // False once the file was removed: others can then take a lock of the same name.
  bool holds() const;

private:
  process_lock(std::string file, int fd) : file_(std::move(file)), fd_(fd) {}

  std::string file_;
  int fd_;
};

}  // namespace fxfarm
