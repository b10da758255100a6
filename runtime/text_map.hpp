#pragma once
// Maps and sets by texts that peers choose: names, keys, namespaces. The hash of the standard library has no seed, so
// whoever chooses the texts could have all of them meet in one place and each search walk through all (hash flooding).
// These hash with SipHash and a seed that every process draws anew.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace fxfarm {

class text_hash {
public:
  using is_transparent = void;  // who has a string_view makes no string of it to search
  using seed = std::array<unsigned char, 16>;

  text_hash() : seed_(&of_process()) {}
  // The seed must outlive this hash and what is made with it.
  explicit text_hash(const seed& own) : seed_(&own) {}

  // Never throws. It is not declared so, since the standard library then keeps the hash beside each element and does
  // not compute those of the neighbours at each search.
  std::size_t operator()(std::string_view text) const;

  // For programs that count what an operation takes: from now on as it is with this seed. Before the first map only.
  static void fix_seed_of_process(const seed& known);

private:
  static seed& of_process();
  const seed* seed_;
};

template <class Value>
using text_map = std::unordered_map<std::string, Value, text_hash, std::equal_to<>>;
using text_set = std::unordered_set<std::string, text_hash, std::equal_to<>>;

}  // namespace fxfarm
