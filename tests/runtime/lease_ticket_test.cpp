#include "runtime/lease_ticket.hpp"

#include <gtest/gtest.h>

namespace fxfarm {
namespace {

using namespace std::chrono_literals;

const lease_facts facts{"attempt", "stage", "team.graph", "worker"};
constexpr double now = 1'800'000'000;

std::string told(const result<void>& checked) {
  return checked ? "well" : to_string(checked.failure());
}

TEST(lease_ticket, holds_at_every_coordinator_with_the_same_secret_until_it_expires) {
  const lease_seal one("secret", 1800s), other("secret", 1800s);
  const auto ticket = one.seal(facts, now);
  for (const double at : {now, now - 299, now + 1800, now + 1800 + 299}) {
    EXPECT_EQ(told(other.check(facts, ticket, at)), "well") << at - now;
  }
  for (const double at : {now - 302, now + 1800 + 302}) {
    EXPECT_EQ(told(other.check(facts, ticket, at)), "refused: its ticket has expired") << at - now;
  }
}

TEST(lease_ticket, holds_for_nothing_else) {
  const lease_seal seal("secret", 1800s);
  const auto ticket = seal.seal(facts, now);
  const auto wrong = "refused: its ticket is not of this farm, or for another job";
  for (const auto& other : {lease_facts{"x", "stage", "team.graph", "worker"},
                            {"attempt", "x", "team.graph", "worker"},
                            {"attempt", "stage", "graph", "worker"},
                            {"attempt", "stage", "team.graph", "x"}}) {
    EXPECT_EQ(told(seal.check(other, ticket, now)), wrong);
  }
  EXPECT_EQ(told(lease_seal("another", 1800s).check(facts, ticket, now)), wrong);
  const auto later = std::to_string(static_cast<long>(now) + 1000) + ticket.substr(ticket.find(':'));
  EXPECT_EQ(told(seal.check(facts, later, now)), wrong) << "its time is sealed, too";
}

TEST(lease_ticket, that_is_garbage_is_refused) {
  const lease_seal seal("secret", 1800s);
  EXPECT_EQ(told(seal.check(facts, "", now)), "refused: it has no ticket of this farm");
  for (const auto& garbage : {std::string(":"), std::string("1"), std::string("1:"), std::string(10'000, ':')}) {
    EXPECT_EQ(told(seal.check(facts, garbage, now)), "refused: its ticket is not of this farm, or for another job");
  }
}

}  // namespace
}  // namespace fxfarm
