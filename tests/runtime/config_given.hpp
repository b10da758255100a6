#pragma once
// What a process was given, for tests of the options.

#include "runtime/config.hpp"

#include <string>
#include <utility>
#include <vector>

namespace fxfarm {

inline constexpr const char* config_file = "/etc/fxfarm.toml";

inline config_inputs inputs(std::vector<std::string> arguments = {}, environment env = {}, std::string toml = {}) {
  env.insert({{"HOME", "/home/ada"}, {"XDG_RUNTIME_DIR", "/run/user/7"}});
  if (!toml.empty()) env["FXFARM_CONFIG"] = config_file;
  return {std::move(arguments),
          std::move(env),
          [toml](const std::string& file) -> result<std::string> {
            if (file == config_file && !toml.empty()) return toml;
            return {errc::not_found, file + " does not exist"};
          },
          8,
          "farmhand",
          7,
          0};
}

template <class Config>
std::string message(const result<parsed<Config>>& r) {
  return r ? "accepted" : to_string(r.failure());
}

}  // namespace fxfarm
