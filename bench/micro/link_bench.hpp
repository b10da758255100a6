#pragma once
// The two ends of what bench/dispatch.py and bench/fanout.py measure: a plain ZeroMQ peer to compare with, artifacts
// for a coordinator to keep, and a load that is the same for both.

#include "net/messages.hpp"
#include "runtime/bytes.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace fxfarm::bench {

// What a client asks for: as long as a real graph's lookup of one stage.
net::lookup lookup_of(std::size_t number);
bytes artifact_of(std::size_t number, std::size_t size);

struct plain_shape {
  std::string endpoint;
  std::size_t answer_bytes = 0;
  std::size_t piece_bytes = 0;   // of an answer's messages, 0: one message
  std::size_t messages_max = 0;  // of one peer inside ZeroMQ in each direction, 0: as ZeroMQ has it
};
// A ROUTER that answers each message with so many bytes, until its standard input ends. Prints where it listens.
void serve_plainly(const plain_shape& shape);

// Has a coordinator without workers make and keep the artifacts of so many graphs. Throws std::runtime_error.
void fill_store(const std::string& endpoint, std::size_t graphs, std::size_t artifact_bytes);

struct load_shape {
  std::string endpoint;
  bool farm = false;               // else a plain peer
  std::size_t graphs = 1;          // that are asked for in turns
  std::size_t artifact_bytes = 0;  // of each
  std::size_t answer_bytes = 0;    // of a plain peer
  std::size_t request_bytes = 0;   // to a plain peer
  std::size_t connections = 1;
  std::size_t outstanding = 1;  // requests of all connections together
  double seconds = 1;
};
struct load_result {
  std::uint64_t answers = 0;
  std::uint64_t received_bytes = 0;  // also of answers that are not complete
  std::uint64_t answer_bytes = 0;    // frames of the last one
  std::uint64_t request_bytes = 0;
  double seconds = 0;
  std::uint64_t watcher_lost = 0;  // how often a client that only hears heartbeats lost the farm
  double cpu_seconds = 0;          // of this process
  std::vector<double> waits_us;    // of each answer, with one outstanding
};
// Keeps so many requests outstanding for so long. Throws std::runtime_error at an answer that is not right.
load_result ask(const load_shape& shape);

}  // namespace fxfarm::bench
