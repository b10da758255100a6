#pragma once
// What stood between a lookup that missed and the artifact that nearly was for it: the known stage whose key covers the
// most of the same parts, and the parts that differ.

#include "runtime/graph_book.hpp"

#include <optional>
#include <string>
#include <vector>

namespace fxfarm {

struct part_difference {
  std::string part;   // "inputs", "platform.isa", "options.max_autotune", ...
  std::string here;   // value or digest; empty: this key has no such part
  std::string there;  // the same of the neighbour's
};

struct neighbour {
  std::string graph_key;
  std::string graph_name;
  std::string stage;
  std::string stage_key;
  std::size_t equal = 0;                  // parts
  std::vector<part_difference> differ{};  // by name of the part
};

// The nearest of those that were known when `stage` was first asked for. Nothing when there was none with an equal
// part. Linear in all stages of the book.
std::optional<neighbour> nearest(const graph_book& book, const graph_entry& graph, const stage_entry& stage);

}  // namespace fxfarm
