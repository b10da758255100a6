#include "runtime/integer_steps.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

using kind = integer_steps::kind;
using step = integer_steps::step;

constexpr auto smallest = std::numeric_limits<std::int64_t>::min();
constexpr auto largest = std::numeric_limits<std::int64_t>::max();

std::optional<bool> run(const std::vector<step>& steps, const std::vector<std::int64_t>& arguments) {
  auto made = integer_steps::make(steps);
  EXPECT_TRUE(made) << made.failure().message;
  std::vector<std::int64_t> values;
  for (std::size_t position : made->arguments()) values.push_back(arguments.at(position));
  return made->run(values);
}

// Whether `left what right` is `wanted`.
std::optional<bool> gives(std::int64_t left, kind what, std::int64_t right, std::int64_t wanted) {
  return run({{kind::argument, 0}, {kind::argument, 1}, {what}, {kind::number, wanted}, {kind::equal}}, {left, right});
}

}  // namespace

TEST(integer_steps, compute_as_python_does) {
  struct row {
    std::int64_t left;
    kind what;
    std::int64_t right;
    std::int64_t wanted;
  };
  for (const auto& r : std::vector<row>{
           {7, kind::add, -9, -2},          {7, kind::subtract, 9, -2},      {-7, kind::multiply, 9, -63},
           {7, kind::floor_divide, 2, 3},   {-7, kind::floor_divide, 2, -4}, {7, kind::floor_divide, -2, -4},
           {-8, kind::floor_divide, 2, -4}, {7, kind::modulo, 3, 1},         {-7, kind::modulo, 3, 2},
           {7, kind::modulo, -3, -2},       {-6, kind::modulo, 3, 0},        {smallest, kind::modulo, 2, 0},
           {2, kind::smaller, -3, -3},      {2, kind::larger, -3, 2},        {2, kind::equal, 2, 1},
           {2, kind::equal, 3, 0},          {2, kind::unequal, 3, 1},        {2, kind::less, 2, 0},
           {2, kind::less, 3, 1},           {2, kind::less_or_equal, 2, 1},  {3, kind::less_or_equal, 2, 0},
           {5, kind::both, 6, 1},           {5, kind::both, 0, 0},           {0, kind::either, 6, 1},
           {0, kind::either, 0, 0},
       }) {
    EXPECT_EQ(gives(r.left, r.what, r.right, r.wanted), true)
        << r.left << " " << static_cast<int>(r.what) << " " << r.right;
    EXPECT_EQ(gives(r.left, r.what, r.right, r.wanted + 1), false);
  }
}

TEST(integer_steps, replace_the_last_value) {
  EXPECT_EQ(run({{kind::argument, 0}, {kind::negate}, {kind::number, -5}, {kind::equal}}, {5}), true);
  EXPECT_EQ(run({{kind::argument, 0}, {kind::is_not}}, {5}), false);
  EXPECT_EQ(run({{kind::argument, 0}, {kind::is_not}}, {0}), true);
}

TEST(integer_steps, have_no_answer_where_pythons_number_would_be_longer_or_raise) {
  EXPECT_EQ(gives(largest, kind::add, 1, 0), std::nullopt);
  EXPECT_EQ(gives(smallest, kind::subtract, 1, 0), std::nullopt);
  EXPECT_EQ(gives(largest, kind::multiply, 2, 0), std::nullopt);
  EXPECT_EQ(gives(smallest, kind::floor_divide, -1, 0), std::nullopt);
  EXPECT_EQ(gives(smallest, kind::modulo, -1, 0), std::nullopt);
  EXPECT_EQ(gives(1, kind::floor_divide, 0, 0), std::nullopt);
  EXPECT_EQ(gives(1, kind::modulo, 0, 0), std::nullopt);
  EXPECT_EQ(run({{kind::argument, 0}, {kind::negate}}, {smallest}), std::nullopt);
}

TEST(integer_steps, look_at_each_argument_once) {
  auto made =
      integer_steps::make({{kind::argument, 7}, {kind::argument, 2}, {kind::less}, {kind::argument, 7}, {kind::both}});
  ASSERT_TRUE(made);
  EXPECT_TRUE(std::ranges::equal(made->arguments(), std::vector<std::size_t>{7, 2}));
  EXPECT_EQ(made->run(std::vector<std::int64_t>{1, 2}), true);
  EXPECT_EQ(made->run(std::vector<std::int64_t>{2, 1}), false);
}

TEST(integer_steps, are_refused_when_they_are_not_well_formed) {
  struct row {
    std::vector<step> steps;
    std::string why;
  };
  const std::vector<step> too_many(limits::guard_steps_max + 1, {kind::number, 1});
  std::vector<step> too_wide{{kind::number, 1}};
  for (std::int64_t i = 0; i <= static_cast<std::int64_t>(limits::guard_arguments_max); ++i)
    too_wide.insert(too_wide.end(), {{kind::argument, i}, {kind::both}});
  const std::vector<step> too_deep(limits::guard_depth_max + 1, {kind::number, 1});
  for (const auto& r : std::vector<row>{
           {{}, "not one value is left but 0"},
           {{{kind::number, 1}, {kind::number, 1}}, "not one value is left but 2"},
           {{{kind::negate}}, "a step finds too little"},
           {{{kind::number, 1}, {kind::add}}, "a step finds too little"},
           {{{kind::argument, -1}}, "an argument before the first"},
           {too_many, "too many steps"},
           {too_wide, "too many arguments"},
           {too_deep, "too many values at the same time"},
       }) {
    auto made = integer_steps::make(r.steps);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.failure().message, r.why);
  }
}

TEST(integer_steps, are_called_by_words) {
  EXPECT_EQ(integer_steps::kind_of("floor_divide"), kind::floor_divide);
  EXPECT_EQ(integer_steps::kind_of("either"), kind::either);
  EXPECT_EQ(integer_steps::kind_of("divide"), std::nullopt);
}
