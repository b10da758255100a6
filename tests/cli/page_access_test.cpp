#include "cli/page_access.hpp"

#include <gtest/gtest.h>

namespace fxfarm::cli {
namespace {

constexpr const char* token = "0123456789abcdef";

TEST(page_access, is_everybodys_on_this_host_and_beyond_it_whose_somebody_has_said) {
  const struct {
    const char* address;
    bool page_token, admin_token, insecure;
    page_reading want;
  } cases[] = {
      {"127.0.0.1:9090", false, false, false, page_reading::everybody},
      {"127.0.0.1:9090", false, true, false, page_reading::everybody},
      {"127.0.0.1:9090", true, false, false, page_reading::bearers},
      {"0.0.0.0:9090", false, false, false, page_reading::nobody},
      {"192.168.0.7:9090", false, false, false, page_reading::nobody},
      {"0.0.0.0:9090", true, false, false, page_reading::bearers},
      {"0.0.0.0:9090", false, true, false, page_reading::bearers},
      {"0.0.0.0:9090", false, false, true, page_reading::everybody},
      {"0.0.0.0:9090", false, true, true, page_reading::everybody},
      {"0.0.0.0:9090", true, false, true, page_reading::bearers},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(reading_at(c.address, c.page_token, c.admin_token, c.insecure), c.want)
        << c.address << c.page_token << c.admin_token << c.insecure;
  }
}

TEST(page_access, a_token_is_borne_by_who_says_it_whole) {
  EXPECT_TRUE(bears("Bearer 0123456789abcdef", token));
  for (const char* given : {"", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0",
                            "Bearer 0123456789abcdeF", "Basic 0123456789abcdef", "0123456789abcdef"}) {
    EXPECT_FALSE(bears(given, token)) << given;
  }
  EXPECT_FALSE(bears("Bearer ", "")) << "nobody has a token that there is not";
}

TEST(page_access, metrics_ask_for_the_token_that_they_have) {
  monitoring::metrics m("1", "worker");
  EXPECT_FALSE(metrics_gate("", m.page()));
  const auto gate = metrics_gate(token, m.page());
  EXPECT_FALSE(gate({.authorization = "Bearer 0123456789abcdef"}));
  EXPECT_EQ(gate({})->status, 401);
  EXPECT_EQ(gate({.authorization = "Bearer x"})->status, 401);
  EXPECT_EQ(m.snapshot()["page_refusals_no_token"], 1);
  EXPECT_EQ(m.snapshot()["page_refusals_wrong_token"], 1);
}

}  // namespace
}  // namespace fxfarm::cli
