#pragma once
// Binding a socket to an endpoint. Private to net/.

#include "runtime/error.hpp"

#include <string>

#include <zmq.hpp>

namespace fxfarm::net {

// Returns the endpoint with its real port. A socket file is its owner's alone, and one where another process listens is
// left to it. Errors: io.
result<std::string> listen_on(zmq::socket_t& socket, const std::string& endpoint);

}  // namespace fxfarm::net
