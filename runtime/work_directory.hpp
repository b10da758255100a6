#pragma once
// Where child processes put their temporary files, so that these go even when a process is killed.

#include "runtime/error.hpp"
#include "runtime/process_lock.hpp"

#include <memory>
#include <string>

namespace fxfarm {

class work_directory {
public:
  // Makes a directory below `parent`, and removes those there of which the maker has been killed. Errors: `io` naming
  // the file.
  static result<std::unique_ptr<work_directory>> make(const std::string& parent);
  // Removes it with all that is in it.
  ~work_directory();
  work_directory(const work_directory&) = delete;
  work_directory& operator=(const work_directory&) = delete;

  const std::string& path() const { return path_; }

private:
  work_directory(std::string path, std::unique_ptr<process_lock> lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  std::unique_ptr<process_lock> lock_;  // on a file beside it: whoever can take it knows that the maker is gone
};

// Removes a directory with all that is in it, as far as that can be done.
void remove_tree(const std::string& directory);

}  // namespace fxfarm
