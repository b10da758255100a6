#pragma once
// Where the client's actors write down what becomes of each graph, for threads that ask or wait.

#include "runtime/client_types.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace fxfarm::actors {

class board {
public:
  // A new graph.
  void add(graph_status status);
  // What has become of it. To no effect when it was erased: an actor may have news of a graph that is gone.
  void update(graph_status status);
  void erase(std::uint64_t graph);
  std::vector<graph_status> graphs() const;
  // Null when it is not known (any longer).
  std::shared_ptr<const graph_status> find(std::uint64_t graph) const;

  // See client::wait.
  wait_result wait(const std::string& stage, std::chrono::milliseconds timeout) const;

  void count(const std::string& name, std::uint64_t by = 1);
  // Since the start, and since the last reset.
  std::map<std::string, std::uint64_t> totals() const;
  std::map<std::string, std::uint64_t> stats() const;
  void reset_stats();

private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<std::uint64_t, std::shared_ptr<const graph_status>> graphs_;
  std::map<std::string, std::uint64_t> counters_;
  std::map<std::string, std::uint64_t> at_reset_;
};

}  // namespace fxfarm::actors
