#include "runtime/text_map.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

constexpr std::size_t keys_sent = 20'000;

// What an attacker computes: texts of two words that libstdc++'s hash (Murmur 2, 64 bits, a fixed seed) cannot tell
// apart. The first word is free; the second undoes what the first has made of the state.
class colliding_texts {
public:
  static std::vector<std::string> make(std::size_t count) {
    std::vector<std::string> all;
    for (std::uint64_t first = 0; first < count; ++first) {
      const auto state = (start ^ mixed(first)) * multiplier;
      const std::uint64_t words[] = {first, unmixed(state ^ wanted)};
      std::string text(sizeof words, '\0');
      std::memcpy(text.data(), words, sizeof words);
      all.push_back(std::move(text));
    }
    return all;
  }

private:
  static constexpr std::uint64_t multiplier = 0xc6a4a7935bd1e995;
  static constexpr std::uint64_t start = 0xc70f6907 ^ (2 * sizeof(std::uint64_t) * multiplier);
  static constexpr std::uint64_t wanted = 0x123456789abcdef;

  static constexpr std::uint64_t inverse() {
    std::uint64_t x = multiplier;  // Newton's steps double the bits that are right
    for (int step = 0; step < 6; ++step) x *= 2 - multiplier * x;
    return x;
  }
  static constexpr std::uint64_t folded(std::uint64_t v) { return v ^ (v >> 47U); }
  static constexpr std::uint64_t mixed(std::uint64_t v) { return folded(v * multiplier) * multiplier; }
  static constexpr std::uint64_t unmixed(std::uint64_t v) { return folded(v * inverse()) * inverse(); }
};

template <class Map>
std::size_t fullest_bucket(const Map& map) {
  std::size_t most = 0;
  for (std::size_t b = 0; b < map.bucket_count(); ++b) most = std::max(most, map.bucket_size(b));
  return most;
}

TEST(text_map, texts_that_an_unseeded_hash_cannot_tell_apart_are_spread) {
  const auto sent = colliding_texts::make(keys_sent);
  ASSERT_EQ(std::set<std::string>(sent.begin(), sent.end()).size(), keys_sent);
  const auto known = std::hash<std::string>()(sent.front());
  ASSERT_TRUE(std::all_of(sent.begin(), sent.end(), [&](const auto& text) {
    return std::hash<std::string>()(text) == known;
  })) << "the attack is of another hash than this library's";

  text_map<int> map;
  for (const auto& text : sent) map.emplace(text, 0);
  // At most one for each bucket on average; of 20 000 that fall by chance more than 16 in one are not to be seen.
  EXPECT_LE(fullest_bucket(map), 16u);
  text_set set(sent.begin(), sent.end());
  EXPECT_LE(fullest_bucket(set), 16u);
}

TEST(text_map, another_seed_is_another_order) {
  text_hash::seed one{}, other{};
  other.back() = 1;
  const auto order_of = [](const text_hash::seed& seed) {
    text_map<int> map(0, text_hash(seed));
    for (int i = 0; i < 100; ++i) map.emplace("client-" + std::to_string(i), i);
    std::vector<int> order;
    for (const auto& [text, number] : map) order.push_back(number);
    return order;
  };
  EXPECT_EQ(order_of(one), order_of(one));
  EXPECT_NE(order_of(one), order_of(other));
}

TEST(text_map, a_process_has_a_seed_of_its_own) {
  // The seeds that a program would have which forgot to draw one.
  const text_hash::seed none{};
  EXPECT_NE(text_hash()("farm"), text_hash(none)("farm"));
  EXPECT_EQ(text_hash()("farm"), text_hash()("farm"));
}

TEST(text_map, is_searched_by_a_part_of_a_text_too) {
  text_map<int> map{{"team-a", 1}};
  const std::string_view line = "team-a graph";
  EXPECT_TRUE(map.contains(line.substr(0, 6)));
  EXPECT_EQ(map.find(line), map.end());
}

}  // namespace
