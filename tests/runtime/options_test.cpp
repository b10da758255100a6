#include "runtime/options.hpp"

#include "runtime/limits.hpp"

#include <gtest/gtest.h>

namespace fxfarm {
namespace {

using namespace std::chrono_literals;

TEST(options, bytes_are_digits_and_a_unit_that_fit_64_bits) {
  const std::pair<std::string, std::optional<std::uint64_t>> rows[] = {
      {"0", 0},
      {"4096", 4096},
      {"1B", 1},
      {"64KiB", 64 * limits::KiB},
      {"256MiB", 256 * limits::MiB},
      {"2GiB", 2048 * limits::MiB},
      {"1TiB", 1ULL << 40},
      {"3MB", 3'000'000},
      {"18446744073709551615", ~0ULL},
      {"18446744073709551616", std::nullopt},
      {"16777216TiB", std::nullopt},
      {"", std::nullopt},
      {"MiB", std::nullopt},
      {"1.5GiB", std::nullopt},
      {"-1", std::nullopt},
      {"1 MiB", std::nullopt},
      {"1mib", std::nullopt},
  };
  for (const auto& [text, bytes] : rows) EXPECT_EQ(parse_bytes(text), bytes) << text;
}

TEST(options, durations_need_a_unit) {
  const std::pair<std::string, std::optional<std::chrono::milliseconds>> rows[] = {
      {"500ms", 500ms},
      {"30s", 30s},
      {"5m", 5min},
      {"2h", 2h},
      {"0s", 0s},
      {"30", std::nullopt},
      {"s", std::nullopt},
      {"", std::nullopt},
      {"1d", std::nullopt},
      {"1.5s", std::nullopt},
      {"999999999h", std::nullopt},
  };
  for (const auto& [text, time] : rows) EXPECT_EQ(parse_duration(text), time) << text;
}

TEST(options, rendered_values_read_back_the_same) {
  for (std::uint64_t bytes : {0ULL, 1ULL, 1023ULL, 1024ULL, 1536ULL, 10ULL << 30, ~0ULL}) {
    EXPECT_EQ(parse_bytes(render_bytes(bytes)), bytes);
  }
  for (auto time : {1ms, 999ms, 1000ms, 1500ms, 60'000ms, 7'200'000ms}) {
    EXPECT_EQ(parse_duration(render_duration(time)), time);
  }
  EXPECT_EQ(render_bytes(256 * limits::MiB), "256MiB");
  EXPECT_EQ(render_duration(90s), "90s");
}

TEST(options, knows_which_endpoints_stay_on_the_host) {
  for (auto e :
       {"ipc:///run/f.sock", "tcp://127.0.0.1:7070", "tcp://127.8.9.1:1", "tcp://localhost:1", "tcp://[::1]:1"}) {
    EXPECT_TRUE(stays_on_host(e)) << e;
  }
  for (auto e : {"tcp://0.0.0.0:1", "tcp://*:1", "tcp://farm:1", "tcp://127.example.org:1", "tcp://[::]:1",
                 "udp://127.0.0.1:1", "tcp://127.0.0.1", ""}) {
    EXPECT_FALSE(stays_on_host(e)) << e;
  }
}

TEST(options, an_endpoint_is_tcp_with_a_port_or_ipc_with_an_absolute_path) {
  auto kind = kinds::endpoint();
  for (auto e : {"tcp://farm-0:7070", "tcp://[::1]:7070", "tcp://0.0.0.0:0", "ipc:///a"})
    EXPECT_TRUE(kind.parse(e)) << e;
  for (auto e : {"tcp://farm-0", "tcp://:7070", "tcp://a b:1", "tcp://::1:7070", "tcp://a:70700", "ipc://relative",
                 "ipc:///", "inproc://x", "farm-0:7070", ""}) {
    EXPECT_FALSE(kind.parse(e)) << e;
  }
  EXPECT_TRUE(kind.parse("ipc:///" + std::string(limits::socket_path_bytes_max - 1, 'a')));
  EXPECT_FALSE(kind.parse("ipc:///" + std::string(limits::socket_path_bytes_max, 'a')));
}

TEST(options, a_farm_may_be_named) {
  auto kind = kinds::farm();
  for (auto e : {"dns+tcp://farm:7070", "tcp://farm:7070,dns+tcp://farm:7070", "ipc:///a"})
    EXPECT_TRUE(kind.parse(e)) << e;
  for (auto e : {"dns+tcp://farm", "dns+ipc:///a", "dns://farm:7070", "dns+tcp://farm:7070,", ""}) {
    EXPECT_FALSE(kind.parse(e)) << e;
  }
  EXPECT_TRUE(stays_on_host("dns+tcp://localhost:1"));
  EXPECT_FALSE(stays_on_host("dns+tcp://farm:1"));
}

TEST(options, suggests_only_names_that_are_near) {
  const std::vector<std::string> names{"memory_bytes", "cache_bytes", "salt", "slots"};
  EXPECT_EQ(did_you_mean("memory", names), "; did you mean memory_bytes?");
  EXPECT_EQ(did_you_mean("salts", names), "; did you mean salt?");
  EXPECT_EQ(did_you_mean("slts", names), "; did you mean slots?");
  EXPECT_EQ(did_you_mean("sats", {"salt", "slots", "salt"}), "; did you mean salt or slots?");
  EXPECT_EQ(did_you_mean("endpoint", names), "");
}

}  // namespace
}  // namespace fxfarm
