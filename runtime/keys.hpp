#pragma once
// The address of an artifact.

#include "runtime/bytes.hpp"
#include "runtime/limits.hpp"
#include "runtime/platform.hpp"
#include "runtime/stage.hpp"
#include "runtime/text_map.hpp"

#include <string>
#include <utility>
#include <vector>

namespace fxfarm {

// Changes whenever the artifact format or the meaning of a key does, so that old stores are missed, not misread.
inline constexpr std::string_view key_epoch = "fxfarm-1";

// Hash of graph key, platform, stage options and salt (64 hex digits). A stage's name is no part of it: two names for
// the same options are the same code. `salt` lets an operator disown everything made so far.
std::string make_stage_key(std::string_view graph_key, const platform& p, const stage_spec& stage,
                           std::string_view salt);

// What one kernel's library is signed as (64 hex digits): hash of the scope of its job, its source, the options of its
// stage and the platform. No stage has that key.
std::string make_kernel_key(const std::string& scope, byte_view source, const platform& p, const stage_spec& stage);

// A graph's key in a namespace that shares nothing with others; `scope` is empty for all that share. It takes the place
// of the plain key wherever one namespace must not meet another: in the keys of stages, too.
std::string scoped_key(const std::string& scope, const std::string& graph_key);
// The parts of such a key.
std::string_view scope_of(std::string_view scoped);
std::string_view plain_key(std::string_view scoped);
// Whether it is a graph's key in that scope, and so none of another.
bool is_key_within(std::string_view scope, std::string_view scoped);

// Stage keys of the graphs that were asked for lately: the ranks of a job, and clients with the same model, ask for the
// same ones.
class stage_key_memo {
public:
  explicit stage_key_memo(std::string salt, std::size_t graphs_max = limits::history_graphs)
      : salt_(std::move(salt)), graphs_max_(graphs_max) {}

  // make_stage_key of these; good until the next call.
  const std::string& of(const std::string& graph_key, const platform& p, const stage_spec& stage);

private:
  struct known_stage {
    platform target;
    stage_spec stage;
    std::string key;
  };

  std::string salt_;
  std::size_t graphs_max_;
  text_map<std::vector<known_stage>> graphs_;
};

}  // namespace fxfarm
