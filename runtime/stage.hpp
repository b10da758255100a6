#pragma once
// A stage: one compile of a graph under one named set of options.

#include "runtime/platform.hpp"

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

// Whether a job of that stage, of that plan, searches for the fastest kernels on a GPU, which it then should have to
// itself. That a plan does so shows in its target, which is then one model of GPU: those of its stages do that ask for
// it, or all of them where none does, since what the client has set for its whole process has not come.
bool measures(const stage_spec& stage, const stage_list& plan, const platform& target);

}  // namespace fxfarm
