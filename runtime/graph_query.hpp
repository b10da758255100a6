#pragma once
// Which of the known graphs somebody wants to see, and in which order.

#include "runtime/graph_book.hpp"
#include "runtime/limits.hpp"

#include <string>
#include <vector>

namespace fxfarm {

// Empty texts: any.
struct graph_query {
  std::string state = {};       // of a stage
  std::string name = {};        // has this in it
  std::string key = {};         // the graph's or a stage's begins so
  std::string stage = {};       // name of a stage
  std::string sort = "recent";  // or "name", "compile", "queue", "lookups": what is most comes first
  std::size_t limit = limits::history_graphs;
};

// The stages that are shown of a graph: those of the wanted name. A graph is wanted when one of them is in the state.
bool shows(const graph_query& query, const stage_entry& stage);
std::vector<const graph_entry*> select(const graph_book& book, const graph_query& query);

}  // namespace fxfarm
