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
