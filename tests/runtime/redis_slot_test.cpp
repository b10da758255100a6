#include "runtime/redis_slot.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

// What CLUSTER KEYSLOT of Redis 7.0 answers; the first is the check value of CRC16-XMODEM, 0x31C3.
TEST(redis_slot, is_what_redis_says) {
  struct row {
    std::string_view key;
    std::uint16_t slot;
  };
  for (const auto& r : {row{"123456789", 12739}, row{"", 0}, row{"foo", 12182}, row{"bar", 5061}, row{"hello", 866},
                        row{"foo{bar}", 5061}, row{"{bar}foo", 5061}, row{"a{bar}b{c}", 5061}, row{"foo{}{bar}", 8363},
                        row{"foo{{bar}}zap", 4015}, row{"{user1000}.following", 3443}}) {
    EXPECT_EQ(redis_slot(r.key), r.slot) << r.key;
  }
}
