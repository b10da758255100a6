#pragma once
// A stage: one compile of a graph under one named set of options.

#include <map>
#include <string>
#include <vector>

namespace fxfarm {

struct stage_spec {
  std::string name;                            // "default", "max-autotune", ...
  std::map<std::string, std::string> options;  // option name -> value as JSON text, so that hashing is plain

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("name", s.name);
    f("options", s.options);
  }
  friend bool operator==(const stage_spec&, const stage_spec&) = default;
};

// Wanted stages, worst to best; stage 0, `eager`, is always there and not listed.
using stage_list = std::vector<stage_spec>;

}  // namespace fxfarm
