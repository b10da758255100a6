#pragma once
// What a process calls itself to the others of a farm.

#include <cstddef>
#include <string>

namespace fxfarm {

inline constexpr std::size_t process_id_bytes_max = 128;  // that a peer may call itself

// `name`, which may be cut at its end, this process's number, and a random part, each time another: for people to read
// and nobody else to have. Coordinators tell peers apart by it, and the key; a process may have several clients, and
// containers that share a host's name may have processes of the same number.
std::string process_id(const std::string& name);

}  // namespace fxfarm
