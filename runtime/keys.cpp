#include "runtime/keys.hpp"

#include "runtime/digest.hpp"

namespace fxfarm {

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

}  // namespace fxfarm
