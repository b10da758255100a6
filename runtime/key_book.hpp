#pragma once
// The file of authorized keys as it is now: read again when it has changed. Thread-safe.

#include "runtime/authorized_keys.hpp"
#include "runtime/error.hpp"

#include <memory>
#include <mutex>
#include <string>

namespace fxfarm {

class key_book {
public:
  // Errors, which begin with `option`: bad_config when the file cannot be read, may be written by others, or has a line
  // that is not understood.
  static result<std::shared_ptr<key_book>> open(const std::string& option, const std::string& path);

  // Never null. The same object until other keys are in force.
  std::shared_ptr<const authorized_keys> keys() const;
  // Reads the file when it has changed since the last time; true: other keys are in force. On an error the keys stay as
  // they were; the next call reads again when the file has changed once more, or could not be read.
  result<bool> refresh();

private:
  key_book(std::string option, std::string path) : option_(std::move(option)), path_(std::move(path)) {}
  result<std::string> stamp() const;

  const std::string option_;
  const std::string path_;
  std::string stamp_;         // of the file that was read last; used by one thread
  std::string text_;          // likewise: what is in force
  std::string unread_;        // likewise: why the file could not be read at the last look; empty: it could
  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<const authorized_keys> keys_;
};

}  // namespace fxfarm
