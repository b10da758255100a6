#include "runtime/redis_store.hpp"

#include "redis_double.hpp"
#include "runtime/redis_slot.hpp"

#include <set>

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

const std::string key(64, 'a');
constexpr auto never = redis_store::time_point::max();

stored artifact(std::size_t size, char fill = 'x') {
  bytes data(size, std::byte(fill));
  for (std::size_t i = 0; i < size; i += 1000) data[i] = std::byte(i / 1000);
  return {make_blob(std::move(data)), {{"codegen", 1.5}}, "worker-1", ""};
}

constexpr std::size_t four_chunks_and_a_half = limits::redis_chunk_bytes * 9 / 2;

}  // namespace

TEST(redis_store, gives_back_what_was_put_whatever_its_size) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, limits::redis_chunk_bytes,
                                 limits::redis_chunk_bytes + 1, four_chunks_and_a_half}) {
    redis_double server;
    auto s = server.store();
    const auto what = artifact(size);
    ASSERT_TRUE(s.put(key, what));
    EXPECT_EQ(server.values.size(), 1 + (size + limits::redis_chunk_bytes - 1) / limits::redis_chunk_bytes);
    auto found = s.get(key, never);
    ASSERT_TRUE(found && *found) << size;
    EXPECT_EQ(*(*found)->data, *what.data);
    EXPECT_EQ((*found)->phases, what.phases);
    EXPECT_EQ((*found)->made_by, "worker-1");
  }
}

TEST(redis_store, a_miss_is_no_error) {
  redis_double server;
  auto found = server.store().get(key, never);
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
}

TEST(redis_store, keeps_all_of_an_artifact_in_one_slot_below_the_prefix) {
  redis_double server;
  ASSERT_TRUE(server.store().put(key, artifact(four_chunks_and_a_half)));
  std::set<std::uint16_t> slots;
  for (const auto& [name, value] : server.values) {
    EXPECT_TRUE(name.starts_with("farm:2:{" + key + "}:")) << name;
    slots.insert(redis_slot(name));
  }
  EXPECT_EQ(slots, std::set<std::uint16_t>{redis_slot(key)});
}

TEST(redis_store, writes_the_head_last) {
  redis_double server;
  auto s = server.store();
  int sets = 0;
  server.answer([&](const redis_command& c) {
    if (c[0] == "SET") ++sets;
    return sets > 5 ? result<void>(errc::unreachable, "gone") : result<void>();
  });
  EXPECT_EQ(s.put(key, artifact(four_chunks_and_a_half)).failure().code, errc::unreachable);
  EXPECT_EQ(server.values.size(), 5u);
  server.answer(nullptr);
  EXPECT_FALSE(*s.get(key, never)) << "half of it is not there";
}

TEST(redis_store, a_reader_never_sees_two_artifacts_mixed) {
  redis_double server;
  auto s = server.store();
  auto other = server.store();
  const auto first = artifact(four_chunks_and_a_half, 'x');
  const auto second = artifact(four_chunks_and_a_half, 'y');
  ASSERT_TRUE(s.put(key, first));
  // The other coordinator's writes fall between those of this one's.
  int sets = 0;
  server.answer([&](const redis_command& c) {
    if (c[0] == "SET" && ++sets == 3) {
      auto found = other.get(key, never);
      EXPECT_TRUE(found && *found && *(*found)->data == *first.data);
    }
    return result<void>();
  });
  ASSERT_TRUE(s.put(key, second));
  auto found = s.get(key, never);
  ASSERT_TRUE(found && *found);
  EXPECT_EQ(*(*found)->data, *second.data);
}

TEST(redis_store, everything_lives_as_long_again_when_it_is_read) {
  redis_double server;
  auto s = server.store();
  ASSERT_TRUE(s.put(key, artifact(four_chunks_and_a_half)));
  for (auto& [name, ttl] : server.ttl_ms) {
    EXPECT_EQ(ttl, "300000") << name;
    ttl = "1";
  }
  ASSERT_TRUE(*s.get(key, never));
  for (const auto& [name, ttl] : server.ttl_ms) EXPECT_EQ(ttl, "300000") << name;
}

TEST(redis_store, does_not_take_what_is_larger_than_it_may) {
  redis_double server;
  auto small = server.store(1000);
  EXPECT_EQ(small.put(key, artifact(1001)).failure().code, errc::too_large);
  EXPECT_TRUE(server.values.empty());
  ASSERT_TRUE(small.put(key, artifact(1000)));
  // Another coordinator may have another bound.
  ASSERT_TRUE(server.store().put(key, artifact(1001)));
  auto found = small.get(key, never);
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
  EXPECT_EQ(server.values.size(), 3u) << "it is the other's, and stays";
}

TEST(redis_store, a_flipped_bit_anywhere_is_found_and_what_has_it_is_removed) {
  redis_double pristine;
  ASSERT_TRUE(pristine.store().put(key, artifact(3000)));
  std::size_t corrupt = 0;
  std::size_t flips = 0;
  for (const auto& [name, value] : pristine.values) {
    const bool head = name.ends_with(":head");
    for (std::size_t at = 0; at < value.size(); at += head ? 1 : 97) {
      redis_double server;
      server.values = pristine.values;
      server.values[name][at] = static_cast<char>(server.values[name][at] ^ 0x10);
      auto found = server.store().get(key, never);
      ++flips;
      if (found) {
        // Of a length or a digest that leads to chunks which are not there.
        EXPECT_FALSE(*found) << name << " at " << at;
        EXPECT_TRUE(head) << name << " at " << at;
      } else {
        EXPECT_EQ(found.failure().code, errc::corrupt) << name << " at " << at;
        EXPECT_NE(found.failure().message.find(key + " was removed"), std::string::npos) << found.failure().message;
        ++corrupt;
      }
      EXPECT_FALSE(*server.store().get(key, never)) << name << " at " << at;
    }
  }
  EXPECT_GT(flips, 100u);
  EXPECT_GT(corrupt, flips / 2);
}

TEST(redis_store, a_chunk_of_another_size_is_corrupt_and_a_missing_one_a_miss) {
  for (const bool missing : {false, true}) {
    redis_double server;
    auto s = server.store();
    ASSERT_TRUE(s.put(key, artifact(four_chunks_and_a_half)));
    auto chunk = server.values.begin();
    ASSERT_TRUE(chunk->first.ends_with(":0"));
    if (missing) {
      server.values.erase(chunk);
      EXPECT_FALSE(*s.get(key, never));
    } else {
      chunk->second.pop_back();
      EXPECT_EQ(s.get(key, never).failure().code, errc::corrupt);
    }
    EXPECT_FALSE(server.values.contains("farm:2:{" + key + "}:head"));
  }
}

TEST(redis_store, an_artifact_under_another_key_is_corrupt) {
  redis_double server;
  const std::string other(64, 'b');
  ASSERT_TRUE(server.store().put(key, artifact(10)));
  std::map<std::string, std::string> moved;
  for (const auto& [name, value] : server.values) {
    moved[std::string(name).replace(name.find(key), key.size(), other)] = value;
  }
  server.values = moved;
  EXPECT_EQ(server.store().get(other, never).failure().code, errc::corrupt);
}

TEST(redis_store, removes_all_of_it) {
  redis_double server;
  auto s = server.store();
  ASSERT_TRUE(s.put(key, artifact(four_chunks_and_a_half)));
  ASSERT_TRUE(s.remove(key));
  EXPECT_TRUE(server.values.empty());
  EXPECT_TRUE(s.remove(key));
}

TEST(redis_store, tells_what_went_wrong) {
  redis_double server;
  auto s = server.store();
  ASSERT_TRUE(s.put(key, artifact(10)));
  server.answer([](const redis_command&) { return result<void>(errc::timeout, "slow"); });
  EXPECT_EQ(s.get(key, never).failure().code, errc::timeout);
  EXPECT_EQ(s.put(key, artifact(10)).failure().code, errc::timeout);
  EXPECT_EQ(s.remove(key).failure().code, errc::timeout);
  EXPECT_EQ(s.ping().failure().code, errc::timeout);
}
