#include "net/attachment_digests.hpp"

#include "peers.hpp"

#include <gtest/gtest.h>

namespace fxfarm::net {
namespace {

TEST(attachment_digests, without_an_attachment_there_is_none) {
  EXPECT_EQ(attachment_digests().of(nullptr), "");
}

TEST(attachment_digests, each_blob_has_its_own_however_many_there_are_and_wherever_they_lie) {
  attachment_digests digests;
  std::vector<blob> kept;
  for (unsigned seed = 0; seed < 3'000; ++seed) {
    // Every second one goes at once, so that later ones lie where it lay.
    const auto content = make_blob(pattern_bytes(64, seed));
    ASSERT_EQ(digests.of(content), digest_hex(*content));
    if (seed % 2 == 0) kept.push_back(content);
  }
  for (const auto& content : kept) ASSERT_EQ(digests.of(content), digest_hex(*content));
}

}  // namespace
}  // namespace fxfarm::net
