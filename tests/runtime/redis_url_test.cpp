#include "runtime/redis_url.hpp"

#include <gtest/gtest.h>

using namespace fxfarm;

TEST(redis_url, tells_where_redis_is_and_how_to_get_in) {
  struct row {
    std::string url;
    redis_target want;
    std::string shown;
  };
  const row rows[] = {
      {"redis://farm", {redis_kind::server, false, {{"farm", 6379}}, "", "", 0, ""}, "redis://farm:6379"},
      {"redis://farm:7000/3", {redis_kind::server, false, {{"farm", 7000}}, "", "", 3, ""}, "redis://farm:7000/3"},
      {"redis://farm/", {redis_kind::server, false, {{"farm", 6379}}, "", "", 0, ""}, "redis://farm:6379"},
      {"rediss://ada:l%40ce@farm",
       {redis_kind::server, true, {{"farm", 6379}}, "ada", "l@ce", 0, ""},
       "rediss://farm:6379"},
      {"redis://:p@ss@farm", {redis_kind::server, false, {{"farm", 6379}}, "", "p@ss", 0, ""}, "redis://farm:6379"},
      {"redis://ada@farm", {redis_kind::server, false, {{"farm", 6379}}, "ada", "", 0, ""}, "redis://farm:6379"},
      {"redis://[::1]:7000", {redis_kind::server, false, {{"::1", 7000}}, "", "", 0, ""}, "redis://[::1]:7000"},
      {"redis+sentinel://a,b:7000/main/2",
       {redis_kind::sentinel, false, {{"a", 26379}, {"b", 7000}}, "", "", 2, "main"},
       "redis+sentinel://a:26379,b:7000/main/2"},
      {"rediss+cluster://:x@a,b",
       {redis_kind::cluster, true, {{"a", 6379}, {"b", 6379}}, "", "x", 0, ""},
       "rediss+cluster://a:6379,b:6379"},
      {"unix:///run/redis.sock",
       {redis_kind::server, false, {{"/run/redis.sock", 0}}, "", "", 0, ""},
       "unix:///run/redis.sock"},
      {"unix://:x@/run/redis.sock",
       {redis_kind::server, false, {{"/run/redis.sock", 0}}, "", "x", 0, ""},
       "unix:///run/redis.sock"},
  };
  for (const auto& r : rows) {
    auto got = parse_redis_url(r.url);
    ASSERT_TRUE(got) << r.url << ": " << to_string(got.failure());
    EXPECT_EQ(got->kind, r.want.kind) << r.url;
    EXPECT_EQ(got->tls, r.want.tls) << r.url;
    EXPECT_EQ(got->addresses, r.want.addresses) << r.url;
    EXPECT_EQ(got->user, r.want.user) << r.url;
    EXPECT_EQ(got->password, r.want.password) << r.url;
    EXPECT_EQ(got->database, r.want.database) << r.url;
    EXPECT_EQ(got->master, r.want.master) << r.url;
    EXPECT_EQ(to_string(*got), r.shown);
  }
}

TEST(redis_url, is_refused_without_repeating_what_may_be_a_password) {
  for (const std::string url : {"",
                                "redis:",
                                "http://hunter2",
                                "redis://",
                                "redis://:hunter2@",
                                "redis://:hunter2@/",
                                "redis://:hunter2@a:0",
                                "redis://:hunter2@a:65536",
                                "redis://:hunter2@a:x",
                                "redis://:hunter2@a,b",
                                "redis://:hunter2@a/x",
                                "redis://:hunter2@a/-1",
                                "redis://:hunter2%4@a",
                                "redis://:hunter2%zz@a",
                                "redis://ada:@a",
                                "redis://:hunter2@[::1",
                                "redis://:hunter2@[::1]x",
                                "redis+sentinel://:hunter2@a",
                                "redis+sentinel://:hunter2@a/",
                                "redis+cluster://:hunter2@a/1",
                                "redis+cluster://:hunter2@a,,b",
                                "unix://:hunter2@relative",
                                "unix://:hunter2@/",
                                "redis://:hunter2@a b",
                                "redis://:hunter2@a\nb"}) {
    auto got = parse_redis_url(url);
    ASSERT_FALSE(got) << url;
    EXPECT_EQ(got.failure().code, errc::bad_config) << url;
    EXPECT_EQ(got.failure().message.find("hunter2"), std::string::npos) << got.failure().message;
  }
  EXPECT_FALSE(parse_redis_url(std::string_view("redis://a\0b", 11)));
  EXPECT_FALSE(parse_redis_url("redis://" + std::string(100'000, 'a')));
  EXPECT_FALSE(parse_redis_url("unix:///" + std::string(200, 'a')));
}

TEST(redis_url, stays_on_the_host_only_when_every_address_does) {
  struct row {
    std::string url;
    bool stays;
  };
  for (const auto& r : {row{"redis://127.0.0.1", true}, row{"redis://localhost:1", true}, row{"redis://[::1]", true},
                        row{"unix:///run/redis.sock", true}, row{"redis://farm", false},
                        row{"redis+cluster://127.0.0.1,farm", false}, row{"redis://127.evil.org", false}}) {
    EXPECT_EQ(stays_on_host(*parse_redis_url(r.url)), r.stays) << r.url;
  }
}
