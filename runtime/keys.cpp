#include "runtime/keys.hpp"

#include "runtime/digest.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

// A graph's key, 64 hex digits, has none.
constexpr char scope_end = '.';

}  // namespace

std::string scoped_key(const std::string& scope, const std::string& graph_key) {
  return scope.empty() ? graph_key : scope + scope_end + graph_key;
}

std::string_view scope_of(std::string_view scoped) {
  const auto end = scoped.rfind(scope_end);
  return end == std::string_view::npos ? std::string_view() : scoped.substr(0, end);
}

std::string_view plain_key(std::string_view scoped) {
  const auto end = scoped.rfind(scope_end);
  return end == std::string_view::npos ? scoped : scoped.substr(end + 1);
}

bool is_key_within(std::string_view scope, std::string_view scoped) {
  return scope_of(scoped) == scope && is_digest(plain_key(scoped));
}

std::string make_stage_key(std::string_view graph_key, const platform& p, const stage_spec& stage,
                           std::string_view salt) {
  constexpr std::size_t usual_bytes = 1'024;
  bytes text;
  text.reserve(usual_bytes);
  const auto field = [&](std::string_view content) { append_field(text, content); };
  field(key_epoch);
  field(graph_key);
  field(salt);
  platform::fields(p, [&](std::string_view name, const auto& value) {
    field(name);
    if constexpr (std::is_integral_v<std::decay_t<decltype(value)>>) {
      field(std::to_string(value));
    } else {
      field(value);
    }
  });
  for (const auto& [option, value] : stage.options) {
    field(option);
    field(value);
  }
  return digest_hex(text);
}

const std::string& stage_key_memo::of(const std::string& graph_key, const platform& p, const stage_spec& stage) {
  auto found = graphs_.find(graph_key);
  if (found == graphs_.end()) {
    // All at once: which of them is oldest is not worth a list, since a key is soon made again.
    if (graphs_.size() >= graphs_max_) graphs_.clear();
    found = graphs_.try_emplace(graph_key).first;
  }
  auto& stages = found->second;
  const auto known = std::find_if(stages.begin(), stages.end(),
                                  [&](const known_stage& k) { return k.stage == stage && k.target == p; });
  if (known != stages.end()) return known->key;
  if (stages.size() >= limits::stages_remembered_max) stages.clear();
  return stages.emplace_back(known_stage{p, stage, make_stage_key(graph_key, p, stage, salt_)}).key;
}

}  // namespace fxfarm
