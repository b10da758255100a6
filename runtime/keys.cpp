#include "runtime/keys.hpp"

#include "runtime/digest.hpp"

#include <algorithm>
#include <initializer_list>

namespace fxfarm {
namespace {

// A graph's key, 64 hex digits, has none.
constexpr char scope_end = '.';
// Where a stage's key begins with key_epoch.
constexpr std::string_view kernel_epoch = "fxfarm-kernel-1";

bytes fields_of(std::initializer_list<std::string_view> contents) {
  constexpr std::size_t usual_bytes = 1'024;
  bytes text;
  text.reserve(usual_bytes);
  for (const auto content : contents) append_field(text, content);
  return text;
}

void append_target(bytes& text, const platform& p, const stage_spec& stage) {
  platform::fields(p, [&](std::string_view name, const auto& value) {
    append_field(text, name);
    if constexpr (std::is_integral_v<std::decay_t<decltype(value)>>) {
      append_field(text, std::to_string(value));
    } else {
      append_field(text, value);
    }
  });
  for (const auto& [option, value] : stage.options) {
    append_field(text, option);
    append_field(text, value);
  }
}

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
  auto text = fields_of({key_epoch, graph_key, salt});
  append_target(text, p, stage);
  return digest_hex(text);
}

std::string make_kernel_key(const std::string& scope, byte_view source, const platform& p, const stage_spec& stage) {
  auto text = fields_of({kernel_epoch, scope, digest_hex(source)});
  append_target(text, p, stage);
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
