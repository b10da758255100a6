#pragma once
// What people may ask about graphs: the last known state of each stage and what has happened to it, bounded in number
// and bytes, oldest forgotten first.

#include "runtime/graph_life.hpp"
#include "runtime/limits.hpp"
#include "runtime/platform.hpp"
#include "runtime/stage.hpp"
#include "runtime/text_map.hpp"

#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace fxfarm {

struct stage_entry {
  std::string name;
  std::string stage_key;
  std::string state;   // "looking", a job_state by name, "ready", "failed", "released" or "forgotten"
  std::string source;  // tier or worker, when ready; worker, when running
  std::string error;   // "code: reason" when failed
  double queue_seconds = 0;
  double compile_seconds = 0;
  stage_life life = {};
  // What its key covers beside the graph's; null and empty until somebody has said it.
  std::shared_ptr<const platform> target = {};
  std::map<std::string, std::string> options = {};
};

struct graph_entry {
  std::string graph_key;
  std::string name;
  std::vector<stage_entry> stages;
  time_point first_asked = {};
  time_point last_asked = {};
  std::uint64_t lookups = 0;
  std::set<std::string> spaces = {};              // of the clients that asked, as many as are remembered
  std::map<std::string, std::string> parts = {};  // of the graph's key: digests by name; empty until a client said them
};

class graph_book {
public:
  explicit graph_book(std::size_t graphs_max = limits::history_graphs, std::uint64_t bytes_max = limits::history_bytes)
      : graphs_max_(graphs_max), bytes_max_(bytes_max) {}

  // The entry of a stage, made when it is new; its graph becomes the youngest.
  stage_entry& touch(const std::string& graph_key, const std::string& graph_name, const std::string& stage_name,
                     const std::string& stage_key);
  // Null when it is not (or no longer) known.
  stage_entry* find(const std::string& graph_key, const std::string& stage_key);

  // Somebody asks for a graph; nothing when it is not known.
  void asked(const std::string& graph_key, const std::string& space, const std::map<std::string, std::string>& parts,
             time_point now);
  // What the stage's key covers beside the graph's, once.
  void covers(stage_entry& stage, const std::shared_ptr<const platform>& target,
              const std::map<std::string, std::string>& options);
  // Something has happened to a stage.
  void note(stage_entry& stage, life_step step, time_point now, const life_note& what = {});
  // The same; nothing when it is not (or no longer) known.
  void note(const std::string& graph_key, const std::string& stage_key, life_step step, time_point now,
            const life_note& what = {});

  // Youngest first.
  const std::list<graph_entry>& graphs() const { return order_; }
  // About what all of it takes.
  std::uint64_t bytes() const { return bytes_; }

private:
  void forget_oldest();

  std::size_t graphs_max_;
  std::uint64_t bytes_max_;
  std::uint64_t bytes_ = 0;
  std::list<graph_entry> order_;
  text_map<std::list<graph_entry>::iterator> index_;
};

}  // namespace fxfarm
