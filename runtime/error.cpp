#include "runtime/error.hpp"

#include <algorithm>
#include <array>

namespace fxfarm {
namespace {

struct code_name {
  errc code;
  std::string_view name;
};

constexpr std::array names{
    code_name{errc::none, "none"},
    code_name{errc::bad_input, "bad_input"},
    code_name{errc::bad_config, "bad_config"},
    code_name{errc::io, "io"},
    code_name{errc::not_found, "not_found"},
    code_name{errc::corrupt, "corrupt"},
    code_name{errc::too_large, "too_large"},
    code_name{errc::busy, "busy"},
    code_name{errc::no_worker, "no_worker"},
    code_name{errc::timeout, "timeout"},
    code_name{errc::unreachable, "unreachable"},
    code_name{errc::protocol, "protocol"},
    code_name{errc::refused, "refused"},
    code_name{errc::untrusted, "untrusted"},
    code_name{errc::cancelled, "cancelled"},
    code_name{errc::engine_start, "engine_start"},
    code_name{errc::engine_crashed, "engine_crashed"},
    code_name{errc::compile_failed, "compile_failed"},
    code_name{errc::deadline, "deadline"},
    code_name{errc::memory, "memory"},
    code_name{errc::quarantined, "quarantined"},
    code_name{errc::unserializable, "unserializable"},
    code_name{errc::load_failed, "load_failed"},
    code_name{errc::slower, "slower"},
    code_name{errc::shutdown, "shutdown"},
    code_name{errc::internal, "internal"},
};

}  // namespace

std::string_view to_string(errc code) {
  const auto* it = std::find_if(names.begin(), names.end(), [&](const code_name& n) { return n.code == code; });
  return it == names.end() ? "internal" : it->name;
}

errc errc_from_string(std::string_view text) {
  const auto* it = std::find_if(names.begin(), names.end(), [&](const code_name& n) { return n.name == text; });
  return it == names.end() ? errc::internal : it->code;
}

std::string to_string(const error& e) {
  return std::string(to_string(e.code)) + ": " + e.message;
}

}  // namespace fxfarm
