#pragma once
// What an operator asks a coordinator, and the answer. How a message is declared is said in net/messages.hpp.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace fxfarm::net {

// A question of the command line. `what` is "status", "stats", "reset-stats", "graphs", "explain", "top", "drain",
// "undrain" or "forget".
struct ask {
  static constexpr std::string_view tag = "ask";
  std::uint64_t request = 0;
  std::string what;
  std::map<std::string, std::string> arguments;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("request", s.request);
    f("what", s.what);
    f("arguments", s.arguments);
  }
};

// Its answer: a JSON document, or an error.
struct answer {
  static constexpr std::string_view tag = "answer";
  std::uint64_t request = 0;
  std::string document;
  std::string code;  // errc by name, "none" when the document is the answer
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("request", s.request);
    f("document", s.document);
    f("code", s.code);
    f("reason", s.reason);
  }
};

}  // namespace fxfarm::net
