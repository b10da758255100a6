#include "runtime/graph_life.hpp"

#include <chrono>
#include <set>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

constexpr time_point start{1000s};

std::string steps(const stage_life& life) {
  std::string out;
  for (const auto& e : life.events()) {
    out +=
        (out.empty() ? "" : " ") + std::string(to_string(e.step)) + (e.count > 1 ? "*" + std::to_string(e.count) : "");
  }
  return out;
}

}  // namespace

TEST(stage_life, every_step_has_a_name_of_its_own) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < life_steps; ++i) names.insert(to_string(static_cast<life_step>(i)));
  EXPECT_EQ(names.size(), life_steps);
  EXPECT_EQ(names.count(""), 0u);
  EXPECT_EQ(to_string(life_step::rolled_back), "rolled_back");
}

TEST(stage_life, keeps_what_happened_in_order) {
  stage_life life;
  const std::map<std::string, double> phases{{"codegen", 2.0}};
  life.add(life_step::missed, start);
  life.add(life_step::queued, start + 1s);
  life.add(life_step::started, start + 2s, {.who = "w", .seconds = 1});
  life.add(life_step::compiled, start + 4s, {.who = "w", .seconds = 2, .phases = &phases});
  EXPECT_EQ(steps(life), "missed queued started compiled");
  const auto& done = life.events().back();
  EXPECT_EQ(done.who, "w");
  EXPECT_EQ(done.seconds, 2);
  EXPECT_EQ(done.phases, phases);
  EXPECT_EQ(done.first, start + 4s);
}

TEST(stage_life, counts_what_clients_do_over_and_over) {
  stage_life life;
  life.add(life_step::answered, start, {.count = 3});
  for (int i = 1; i <= 1000; ++i) {
    const auto who = "c" + std::to_string(i);
    life.add(life_step::hit, start + i * 1s, {.who = "memory"});
    life.add(life_step::switched, start + i * 1s, {.who = who, .seconds = i * 1.0});
  }
  life.add(life_step::hit, start + 2000s, {.who = "disk"});
  EXPECT_EQ(steps(life), "answered*3 hit*1000 switched*1000 hit");
  const auto& switched = life.events()[2];
  EXPECT_EQ(switched.first, start + 1s);
  EXPECT_EQ(switched.last, start + 1000s);
  EXPECT_EQ(switched.who, "c1000");
  EXPECT_EQ(switched.seconds, 1000);
}

TEST(stage_life, what_clients_do_is_counted_anew_when_the_stage_has_moved_on) {
  stage_life life;
  life.add(life_step::joined, start);
  life.add(life_step::started, start);
  life.add(life_step::joined, start);
  life.add(life_step::joined, start);
  EXPECT_EQ(steps(life), "joined started joined*2");
}

TEST(stage_life, a_retry_is_an_event_each_time) {
  stage_life life;
  for (int i = 0; i < 3; ++i) life.add(life_step::retried, start, {.who = "w", .text = "busy: full"});
  EXPECT_EQ(steps(life), "retried retried retried");
}

TEST(stage_life, the_oldest_event_goes_past_the_bound_and_is_counted) {
  stage_life life;
  for (std::size_t i = 0; i < limits::life_events_max + 2; ++i) life.add(life_step::retried, start + i * 1s);
  EXPECT_EQ(life.events().size(), limits::life_events_max);
  EXPECT_EQ(life.events().front().first, start + 2s);
  EXPECT_EQ(life.dropped(), 2u);
}

TEST(stage_life, texts_and_phases_of_peers_are_cut) {
  stage_life life;
  std::map<std::string, double> phases;
  for (std::size_t i = 0; i < 2 * limits::life_phases_max; ++i) phases["p" + std::to_string(i)] = 1;
  const std::string text(2 * limits::life_text_bytes_max, 'x');
  life.add(life_step::compiled, start, {.text = text, .phases = &phases});
  EXPECT_EQ(life.events().front().text.size(), limits::life_text_bytes_max);
  EXPECT_EQ(life.events().front().phases.size(), limits::life_phases_max);
}

TEST(stage_life, tells_by_how_much_it_has_grown) {
  stage_life life;
  std::ptrdiff_t grown = 0;
  for (std::size_t i = 0; i < 3 * limits::life_events_max; ++i) {
    grown += life.add(life_step::retried, start, {.text = std::string(i, 'x')});
    grown += life.add(life_step::hit, start, {.who = "memory", .text = std::string(i % 7, 'x')});
    ASSERT_EQ(grown, static_cast<std::ptrdiff_t>(life.bytes()));
  }
  EXPECT_GT(grown, static_cast<std::ptrdiff_t>(limits::life_events_max * sizeof(life_event)));
}

TEST(stage_life, finds_the_first_and_the_last_of_a_kind) {
  stage_life life;
  life.add(life_step::retried, start, {.who = "a"});
  life.add(life_step::missed, start);
  life.add(life_step::retried, start, {.who = "b"});
  EXPECT_EQ(life.first(life_step::retried)->who, "a");
  EXPECT_EQ(life.last(life_step::retried)->who, "b");
  EXPECT_EQ(life.last(life_step::hit), nullptr);
  EXPECT_EQ(life.first(life_step::hit), nullptr);
}
