// What options are where nobody has set them, and this host decides.
#include "config_given.hpp"

#include <gtest/gtest.h>

namespace fxfarm {
namespace {

TEST(config_of_host, defaults_follow_the_host) {
  auto worker = parse_worker(inputs());
  ASSERT_TRUE(worker);
  EXPECT_EQ(worker->config.name, "farmhand");
  EXPECT_EQ(worker->config.slots, 4u);
  EXPECT_EQ(worker->config.compile_threads, 2u);
  EXPECT_EQ(worker->config.nice, 5u);
  EXPECT_EQ(worker->values.at("compile_threads").text, "2");
  EXPECT_EQ(worker->config.engine_cores, 0u);

  auto single = inputs();
  single.cores = 1;
  worker = parse_worker(single);
  ASSERT_TRUE(worker);
  EXPECT_EQ(worker->config.slots, 1u);
  EXPECT_EQ(worker->config.compile_threads, 1u);

  auto local = parse_local(inputs());
  ASSERT_TRUE(local);
  EXPECT_EQ(local->config.endpoint(), "ipc:///run/user/7/fxfarm/local-default.sock");
  EXPECT_EQ(local->config.lock(), "/run/user/7/fxfarm/local-default.lock");
  EXPECT_EQ(local->config.cache_dir, "/home/ada/.cache/fxfarm/local");
  EXPECT_EQ(local->config.nice, 5u);
  EXPECT_EQ(local->config.slots, 1u);
  EXPECT_EQ(local->config.idle_timeout, limits::local_idle);
  EXPECT_EQ(local->config.engine_cores, 4u) << "half of the host's";
  EXPECT_EQ(local->config.compile_threads, 4u);

  auto named = parse_local(inputs({"--socket", "ipc:///run/s.sock"}));
  ASSERT_TRUE(named);
  EXPECT_EQ(named->config.endpoint(), "ipc:///run/s.sock");

  auto client = parse_client(inputs({"--json"}));
  ASSERT_TRUE(client);
  EXPECT_EQ(client->config.endpoint, "");
  EXPECT_TRUE(client->config.json);
}

TEST(config_of_host, engines_of_a_local_farm_share_a_part_of_the_cores) {
  struct row {
    unsigned cores;
    std::vector<std::string> flags;
    unsigned engine_cores, compile_threads;
  };
  const std::vector<row> table{
      {1, {}, 2, 1},
      {2, {}, 2, 2},
      {5, {}, 2, 2},
      {64, {}, 32, 32},
      {64, {"--slots", "4"}, 32, 8},
      {64, {"--engine-cores", "6", "--slots", "2"}, 6, 3},
      {64, {"--engine-cores", "0"}, 0, 64},
      {4, {"--engine-cores", "99"}, 99, 4},
      {64, {"--compile-threads", "5"}, 32, 5},
  };
  for (const auto& r : table) {
    auto in = inputs(r.flags);
    in.cores = r.cores;
    auto local = parse_local(in);
    ASSERT_TRUE(local);
    EXPECT_EQ(local->config.engine_cores, r.engine_cores) << r.cores;
    EXPECT_EQ(local->config.compile_threads, r.compile_threads) << r.cores;
  }
}

TEST(config_of_host, a_worker_offers_most_of_the_memory_there_is_and_a_local_farm_half_of_it) {
  constexpr std::uint64_t GiB = 1 << 30;
  struct {
    std::uint64_t there;
    std::vector<std::string> flags;
    std::uint64_t worker, local;
  } const table[] = {
      {0, {}, 0, 0},
      {16 * GiB + 12345, {}, 14 * GiB, 8 * GiB},
      {16 * GiB, {"--worker-memory-bytes", "20GiB"}, 20 * GiB, 20 * GiB},
      {16 * GiB, {"--worker-memory-bytes", "0"}, 0, 0},
  };
  for (const auto& r : table) {
    auto in = inputs(r.flags);
    in.memory_bytes = r.there;
    EXPECT_EQ(parse_worker(in)->config.worker_memory_bytes, r.worker) << r.there;
    EXPECT_EQ(parse_local(in)->config.worker_memory_bytes, r.local) << r.there;
  }
}

TEST(config_of_host, asks_for_another_socket_when_the_default_is_too_long_for_one) {
  auto deep = inputs({}, {{"XDG_RUNTIME_DIR", "/" + std::string(120, 'd')}});
  auto got = parse_local(deep);
  ASSERT_FALSE(got);
  EXPECT_NE(got.failure().message.find("--socket"), std::string::npos) << got.failure().message;
  deep.arguments = {"--socket", "/run/s.sock"};
  EXPECT_TRUE(parse_local(deep));
}

}  // namespace
}  // namespace fxfarm
