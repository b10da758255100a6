#include "monitoring/log.hpp"

#include <regex>

#include <gtest/gtest.h>

using namespace fxfarm;

namespace {

template <class F>
std::string written_by(log::level least, log::format how, F&& write) {
  log::init(least, how);
  ::testing::internal::CaptureStderr();
  write();
  auto text = ::testing::internal::GetCapturedStderr();
  log::init(log::level::info, log::format::text);
  return text;
}

}  // namespace

TEST(log, a_line_for_people_has_time_level_message_and_fields) {
  const auto text = written_by(log::level::info, log::format::text, [] {
    log::info("job started", {{"worker", "w1"}, {"name", "GPT2 forward"}, {"none", ""}});
  });
  EXPECT_TRUE(std::regex_match(
      text,
      std::regex(R"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} info job started worker=w1 name="GPT2 forward" none=""\n)")))
      << text;
}

TEST(log, a_line_for_machines_is_json) {
  const auto text = written_by(log::level::info, log::format::json, [] {
    log::error("no \"luck\"", {{"path", "C:\\x"}, {"why", "a\nb\x01"}});
  });
  EXPECT_TRUE(std::regex_match(
      text,
      std::regex(
          R"(\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d","level":"error","message":"no \\"luck\\"","path":"C:\\\\x","why":"a\\nb\\u0001"\}\n)")))
      << text;
}

TEST(log, a_message_cannot_forge_a_line) {
  const auto text = written_by(log::level::info, log::format::text, [] {
    log::info("hello\n2026-01-01 error {} %v", {{"peer", "x\ny"}});
  });
  EXPECT_TRUE(text.ends_with("info hello\\n2026-01-01 error {} %v peer=x\\ny\n")) << text;
}

TEST(log, lines_below_the_level_are_not_written) {
  const auto all = [] {
    log::debug("d");
    log::info("i");
    log::warning("w");
    log::error("e");
  };
  const auto lines = [&](log::level least) {
    const auto text = written_by(least, log::format::text, all);
    return std::count(text.begin(), text.end(), '\n');
  };
  EXPECT_EQ(lines(log::level::debug), 4);
  EXPECT_EQ(lines(log::level::info), 3);
  EXPECT_EQ(lines(log::level::warning), 2);
  EXPECT_EQ(lines(log::level::error), 1);
  EXPECT_EQ(lines(log::level::off), 0);
}

TEST(log, tells_whether_a_level_is_written) {
  log::init(log::level::warning, log::format::text);
  EXPECT_FALSE(log::enabled(log::level::info));
  EXPECT_TRUE(log::enabled(log::level::warning));
  EXPECT_FALSE(log::enabled(log::level::off));
  log::init(log::level::info, log::format::text);
}

TEST(log, levels_and_formats_have_names_and_others_are_refused_with_what_is_allowed) {
  std::string problem;
  EXPECT_EQ(log::parse_level("debug", problem), log::level::debug);
  EXPECT_EQ(log::parse_level("warning", problem), log::level::warning);
  EXPECT_EQ(log::parse_level("off", problem), log::level::off);
  EXPECT_EQ(log::parse_format("json", problem), log::format::json);
  EXPECT_FALSE(log::parse_level("verbose", problem));
  EXPECT_EQ(problem, "'verbose' is no log level: debug, info, warning, error, off are");
  EXPECT_FALSE(log::parse_format("xml", problem));
  EXPECT_EQ(problem, "'xml' is no log format: text, json are");
}
