#pragma once
// Hangs up on a connection whose descriptor is another's. Private to net/.

#include "runtime/error.hpp"
#include "runtime/file_handle.hpp"

#include <sys/types.h>

namespace fxfarm::net {

// Of the socket that has the descriptor; no two that are open have the same. 0: there is none.
ino_t inode_of(int descriptor);

class connection_closer {
public:
  // `idle` outlives it: any file, which its spare descriptor stands for while it is not needed. Throws
  // std::system_error.
  explicit connection_closer(int idle);

  // Ends the connection, if it still has the descriptor: its owner reads it to its end, and then closes it. Errors: io,
  // when it may be there all the same.
  result<void> hang_up(int descriptor, ino_t inode) const;

private:
  int idle_;
  file_handle spare_;  // had from the beginning, for there may be no other later
};

}  // namespace fxfarm::net
