#pragma once
// What people may ask about graphs: the last known state of each stage, bounded in number, oldest forgotten first.

#include "runtime/limits.hpp"

#include <list>
#include <string>
#include <unordered_map>
#include <vector>

namespace fxfarm {

struct stage_entry {
  std::string name;
  std::string stage_key;
  std::string state;   // "looking", a job_state by name, "ready" or "failed"
  std::string source;  // tier or worker, when ready; worker, when running
  std::string error;   // "code: reason" when failed
  double queue_seconds = 0;
  double compile_seconds = 0;
};

struct graph_entry {
  std::string graph_key;
  std::string name;
  std::vector<stage_entry> stages;
};

class graph_book {
public:
  explicit graph_book(std::size_t graphs_max = limits::graphs_remembered_max) : graphs_max_(graphs_max) {}

  // The entry of a stage, made when it is new; its graph becomes the youngest.
  stage_entry& touch(const std::string& graph_key, const std::string& graph_name, const std::string& stage_name,
                     const std::string& stage_key);
  // Null when it is not (or no longer) known.
  stage_entry* find(const std::string& graph_key, const std::string& stage_key);

  // Youngest first.
  const std::list<graph_entry>& graphs() const { return order_; }

private:
  std::size_t graphs_max_;
  std::list<graph_entry> order_;
  std::unordered_map<std::string, std::list<graph_entry>::iterator> index_;
};

}  // namespace fxfarm
