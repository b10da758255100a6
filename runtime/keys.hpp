#pragma once
// The address of an artifact.

#include "runtime/platform.hpp"
#include "runtime/stage.hpp"

#include <string>

namespace fxfarm {

// Changes whenever the artifact format or the meaning of a key does, so that old stores are missed, not misread.
inline constexpr std::string_view key_epoch = "fxfarm-1";

// Hash of graph key, platform, stage options and salt (64 hex digits). A stage's name is no part of it: two names for
// the same options are the same code. `salt` lets an operator disown everything made so far.
std::string make_stage_key(std::string_view graph_key, const platform& p, const stage_spec& stage,
                           std::string_view salt);

}  // namespace fxfarm
