#include "runtime/error.hpp"

#include <memory>
#include <set>

#include <gtest/gtest.h>

using namespace fxfarm;

TEST(error, every_code_has_a_name_of_its_own_that_leads_back_to_it) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(errc::internal); ++i) {
    const auto code = static_cast<errc>(i);
    const auto name = to_string(code);
    EXPECT_EQ(errc_from_string(name), code) << name;
    names.insert(name);
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(errc::internal) + 1);
}

TEST(error, a_code_of_a_newer_peer_is_internal) {
  EXPECT_EQ(errc_from_string("out_of_cheese"), errc::internal);
  EXPECT_EQ(errc_from_string(""), errc::internal);
  EXPECT_EQ(to_string(static_cast<errc>(200)), "internal");
}

TEST(error, context_is_added_in_front_and_the_code_stays) {
  const auto e = error{errc::io, "disk full"}.with_context("store").with_context("job 7");
  EXPECT_EQ(e.code, errc::io);
  EXPECT_EQ(e.message, "job 7: store: disk full");
  EXPECT_EQ(to_string(e), "io: job 7: store: disk full");
}

TEST(result, holds_a_value_or_an_error) {
  const result<int> value = 3;
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(*value, 3);
  const result<int> failed{errc::busy, "later"};
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.failure().code, errc::busy);
  EXPECT_EQ(failed.failure().message, "later");
}

TEST(result, hands_out_what_can_only_be_moved) {
  result<std::unique_ptr<int>> made = std::make_unique<int>(5);
  const auto taken = *std::move(made);
  EXPECT_EQ(*taken, 5);
}

TEST(result, without_a_value_is_success_unless_told_otherwise) {
  EXPECT_TRUE(result<void>().ok());
  EXPECT_EQ(result<void>().failure().code, errc::none);
  const result<void> failed{errc::refused, "no"};
  EXPECT_FALSE(failed);
  EXPECT_EQ(failed.failure().code, errc::refused);
}
