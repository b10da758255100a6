#include "runtime/peer_quotas.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

using share = peer_quotas::share;

constexpr time_point start{};

}  // namespace

TEST(peer_quotas, what_becomes_of_a_message_depends_on_those_of_the_last_second) {
  struct step {
    std::chrono::milliseconds at;
    unsigned messages;
    unsigned within, over, far_over;
  };
  const struct {
    const char* what;
    std::vector<step> steps;
  } cases[] = {
      {"as many as it may", {{0ms, 10, 10, 0, 0}}},
      {"as many again are over, more are not read", {{0ms, 30, 10, 10, 10}}},
      {"a tenth of a second is worth a message", {{0ms, 10, 10, 0, 0}, {100ms, 2, 1, 1, 0}, {250ms, 2, 1, 1, 0}}},
      {"an hour's silence is worth a second", {{0ms, 30, 10, 10, 10}, {1h, 30, 10, 10, 10}}},
      {"half as many again is never far over",
       {{0ms, 15, 10, 5, 0}, {1s, 15, 10, 5, 0}, {2s, 15, 10, 5, 0}, {3s, 15, 10, 5, 0}, {4s, 15, 10, 5, 0}}},
      {"three times as many is, from the first second on", {{0ms, 30, 10, 10, 10}, {1s, 30, 10, 10, 10}}},
  };
  for (const auto& c : cases) {
    peer_quotas quotas({10, 5});
    for (const auto& s : c.steps) {
      unsigned within = 0, over = 0, far_over = 0;
      for (unsigned i = 0; i < s.messages; ++i) {
        const auto got = quotas.take(quotas.of("a", start + s.at), start + s.at);
        ++(got == share::within ? within : got == share::over ? over : far_over);
      }
      EXPECT_EQ(within, s.within) << c.what << " at " << s.at.count();
      EXPECT_EQ(over, s.over) << c.what << " at " << s.at.count();
      EXPECT_EQ(far_over, s.far_over) << c.what << " at " << s.at.count();
    }
  }
}

TEST(peer_quotas, another_key_has_its_own) {
  peer_quotas quotas({1, 1});
  EXPECT_EQ(quotas.take(quotas.of("a", start), start), share::within);
  EXPECT_EQ(quotas.take(quotas.of("a", start), start), share::over);
  EXPECT_EQ(quotas.take(quotas.of("a", start), start), share::far_over);
  EXPECT_EQ(quotas.take(quotas.of("b", start), start), share::within);
  EXPECT_TRUE(quotas.join(quotas.of("a", start)));
  EXPECT_FALSE(quotas.join(quotas.of("a", start)));
  EXPECT_TRUE(quotas.join(quotas.of("b", start)));
}

TEST(peer_quotas, a_connection_that_has_ended_makes_room_for_another) {
  peer_quotas quotas({1, 2});
  auto& mine = quotas.of("a", start);
  EXPECT_TRUE(quotas.join(mine));
  EXPECT_TRUE(quotas.join(mine));
  EXPECT_FALSE(quotas.join(mine));
  EXPECT_FALSE(quotas.join(mine)) << "one that was refused counts for nothing";
  quotas.leave(mine);
  EXPECT_TRUE(quotas.join(mine));
}

TEST(peer_quotas, a_connection_that_comes_back_has_no_more_than_one_that_stays) {
  peer_quotas quotas({1, 1});
  auto& mine = quotas.of("a", start);
  EXPECT_TRUE(quotas.join(mine));
  EXPECT_EQ(quotas.take(mine, start), share::within);
  quotas.leave(mine);
  EXPECT_EQ(quotas.take(quotas.of("a", start + 500ms), start + 500ms), share::over);
}

TEST(peer_quotas, strangers_are_forgotten_and_peers_stay_where_they_are) {
  peer_quotas quotas({1, 1});
  auto& peer = quotas.of("peer", start);
  ASSERT_TRUE(quotas.join(peer));
  std::size_t most = 0;
  for (unsigned i = 0; i < 100'000; ++i) {
    const auto now = start + i * 1ms;  // a thousand in a second, each with one message
    EXPECT_EQ(quotas.take(quotas.of("stranger " + std::to_string(i), now), now), share::within);
    most = std::max(most, quotas.size());
  }
  EXPECT_LE(most, 2 * 1024u) << "those of the last second, and as many again";
  EXPECT_EQ(&quotas.of("peer", start + 100s), &peer);
}

TEST(peer_quotas, a_peer_has_a_few_messages_of_its_own_while_its_key_has_none_left) {
  constexpr auto at_once = limits::messages_at_once_of_peer;
  const struct {
    const char* what;
    unsigned of_key, first, a_second_later, an_hour_later;
  } cases[] = {
      {"a thousandth of its key's in a second", 2 * limits::messages_part_of_peer, at_once, 2, at_once},
      {"at least one", 10, at_once, 1, at_once},
      {"as many at once as in a second, when that is more", 2 * at_once * limits::messages_part_of_peer, 2 * at_once,
       2 * at_once, 2 * at_once},
  };
  for (const auto& c : cases) {
    const peer_quotas quotas({c.of_key, 5});
    auto own = quotas.peers_own(start);
    for (const auto& [now, most] :
         {std::pair{start, c.first}, {start + 1s, c.a_second_later}, {start + 1h, c.an_hour_later}}) {
      for (unsigned i = 0; i < most; ++i) EXPECT_TRUE(quotas.take_own(own, now)) << c.what;
      EXPECT_FALSE(quotas.take_own(own, now)) << c.what;
    }
  }
}
