#include "runtime/endpoint_names.hpp"

#include "runtime/limits.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

using list = std::vector<std::string>;

}  // namespace

TEST(endpoint_names, names_stand_for_their_addresses_and_the_rest_for_itself) {
  endpoint_names all({"ipc:///run/farm.sock", "dns+tcp://farm:7070", "tcp://b:1"});
  EXPECT_EQ(all.names(), list{"farm:7070"});
  EXPECT_EQ(all.endpoints(), (list{"ipc:///run/farm.sock", "tcp://b:1"}));
  all.answer("farm:7070", list{"tcp://10.0.0.2:7070", "tcp://b:1"});
  EXPECT_EQ(all.endpoints(), (list{"ipc:///run/farm.sock", "tcp://10.0.0.2:7070", "tcp://b:1"}));
  EXPECT_TRUE(endpoint_names({"tcp://b:1"}).names().empty());
}

TEST(endpoint_names, an_address_is_gone_when_it_was_missing_for_long_enough) {
  endpoint_names all({"dns+tcp://farm:1"});
  all.answer("farm:1", list{"tcp://a:1", "tcp://b:1"});
  for (unsigned i = 1; i < limits::name_misses_max; ++i) {
    all.answer("farm:1", list{"tcp://b:1"});
    EXPECT_EQ(all.endpoints(), (list{"tcp://a:1", "tcp://b:1"})) << i;
  }
  all.answer("farm:1", list{"tcp://a:1", "tcp://b:1"});
  for (unsigned i = 0; i < limits::name_misses_max; ++i) all.answer("farm:1", list{"tcp://b:1"});
  EXPECT_EQ(all.endpoints(), list{"tcp://b:1"});
}

TEST(endpoint_names, an_error_changes_nothing_and_is_a_problem_only_without_an_address) {
  endpoint_names all({"dns+tcp://farm:1", "dns+tcp://other:2"});
  all.answer("farm:1", error{errc::unreachable, "no such name"});
  all.answer("other:2", error{errc::unreachable, "no server"});
  EXPECT_EQ(all.problem(), "farm:1: unreachable: no such name; other:2: unreachable: no server");
  all.answer("farm:1", list{"tcp://a:1"});
  all.answer("other:2", list{"tcp://b:2"});
  EXPECT_EQ(all.problem(), "");
  for (unsigned i = 0; i <= limits::name_misses_max; ++i) {
    all.answer("farm:1", error{errc::unreachable, "no such name"});
  }
  EXPECT_EQ(all.problem(), "");
  EXPECT_EQ(all.endpoints(), (list{"tcp://a:1", "tcp://b:2"}));
}
