#pragma once
// A secret that lies in a file of its own, so that no command line shows it.

#include "runtime/error.hpp"

#include <cstddef>
#include <string>

namespace fxfarm {

struct secret_file {
  std::string option;  // that names the file; errors begin with it
  std::string path;
  std::size_t bytes_min = 1;
  std::size_t bytes_max = 0;
  bool printable = false;   // refuse what is not ASCII or has blanks, which a header may not carry as it is
  bool owner_only = false;  // refuse a file that others than this user, or root and a group of its, may read or write
};

// The file's only line. Errors: bad_config, with what to do about it.
result<std::string> read_secret(const secret_file& file);
// All of the file, of at most bytes_max bytes; `printable` and `bytes_min` do not matter. Errors: bad_config.
result<std::string> read_secret_text(const secret_file& file);

// A token that is asked for over HTTP. Errors: as above, and begin with `option`.
result<std::string> read_token(const std::string& option, const std::string& path);

}  // namespace fxfarm
