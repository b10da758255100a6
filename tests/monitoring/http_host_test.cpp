#include "monitoring/http_host.hpp"

#include <gtest/gtest.h>

using namespace fxfarm::monitoring;

TEST(http_host, is_a_name_that_nobody_else_can_own) {
  for (const char* own : {"", "localhost", "LocalHost:9090", "localhost:", "127.0.0.1", "127.0.0.1:9090",
                          "192.0.2.1:80", "[::1]", "[::1]:9090"}) {
    EXPECT_TRUE(names_this_host(own)) << own;
  }
  for (const char* other :
       {"example.com", "example.com:9090", "localhost.example.com", "localhost.", "127.0.0.1.example.com", "127.1",
        "1.2.3", "::1", "[::1", "[", "[]", "[example.com]", ":9090", " localhost"}) {
    EXPECT_FALSE(names_this_host(other)) << other;
  }
}

TEST(http_host, may_be_a_name_that_its_operator_has_vouched_for) {
  const std::vector<std::string> names{"farm.example.com", "farm"};
  for (const char* own : {"farm.example.com", "FARM.example.com:9090", "farm:80", "localhost", "192.0.2.1:80"}) {
    EXPECT_TRUE(names_this_host(own, names)) << own;
  }
  for (const char* other : {"example.com", "a.farm.example.com", "farm.example.com.", "far", ":9090"}) {
    EXPECT_FALSE(names_this_host(other, names)) << other;
  }
}
