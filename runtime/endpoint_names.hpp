#pragma once
// Endpoints by name: dns+tcp://HOST:PORT stands for a coordinator at each address that the name has, asked again now
// and then, since coordinators come and go. A plain class: whoever resolves the names tells it the answers.

#include "runtime/error.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

inline constexpr std::string_view named_scheme = "dns+tcp://";

class endpoint_names {
public:
  // Endpoints of either kind; those without a name stay as they are.
  explicit endpoint_names(const std::vector<std::string>& endpoints);

  // The names that are to be asked for, as HOST:PORT.
  std::vector<std::string> names() const;
  // The endpoints that `name` has now. An answer may leave some of many addresses out: one is gone when it was missing
  // in limits::name_misses_max answers in a row. On an error everything stays as it was.
  void answer(const std::string& name, const result<std::vector<std::string>>& endpoints);

  // Without duplicates, in a fixed order.
  std::vector<std::string> endpoints() const;
  // Why names have no endpoints; empty when all have some.
  std::string problem() const;

private:
  struct name_state {
    std::map<std::string, unsigned> missed;  // endpoint -> answers in a row without it
    std::string problem;
  };

  std::vector<std::string> fixed_;
  std::map<std::string, name_state> names_;
};

}  // namespace fxfarm
