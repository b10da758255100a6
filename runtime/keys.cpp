#include "runtime/keys.hpp"

#include "runtime/digest.hpp"

namespace fxfarm {

std::string make_stage_key(std::string_view graph_key, const platform& p, const stage_spec& stage,
                           std::string_view salt) {
  digest_builder hash;
  hash.field(key_epoch).field(graph_key).field(salt);
  platform::fields(p, [&](std::string_view name, const auto& value) {
    hash.field(name);
    if constexpr (std::is_integral_v<std::decay_t<decltype(value)>>) {
      hash.field(std::to_string(value));
    } else {
      hash.field(value);
    }
  });
  for (const auto& [option, value] : stage.options) hash.field(option).field(value);
  return hash.finish();
}

}  // namespace fxfarm
