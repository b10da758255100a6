// Where a router listens.
#include "router_fixture.hpp"

#include <sys/stat.h>

namespace fxfarm::net {
namespace {

using namespace std::chrono_literals;

TEST_F(at_router, an_endpoint_that_is_taken_is_an_error_that_names_it) {
  auto tcp = start("tcp://127.0.0.1:0");
  ASSERT_TRUE(tcp);
  const auto endpoint = (*tcp)->endpoints().front();
  EXPECT_FALSE(endpoint.ends_with(":0"));
  const auto second = start(endpoint);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.failure().code, errc::io);
  EXPECT_EQ(second.failure().message, endpoint + ": Address already in use");

  auto ipc = start(dir.endpoint());
  ASSERT_TRUE(ipc);
  const auto again = start(dir.endpoint());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.failure().message, dir.endpoint() + ": another process listens there");
  EXPECT_EQ(start("ipc:///nowhere/at/all").failure().code, errc::io);
  EXPECT_EQ(start("nonsense").failure().code, errc::io);
}

TEST_F(at_router, only_the_owner_can_open_its_ipc_socket) {
  auto r = started();
  struct stat info {};
  ASSERT_EQ(::stat(dir.file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(at_router, listens_at_several_endpoints_at_once) {
  auto r = router::start({{dir.endpoint("one"), "tcp://127.0.0.1:0"}, "c1", "0.1.0", 10, {}}, seen.sink());
  ASSERT_TRUE(r);
  std::vector<std::unique_ptr<bare_peer>> peers;  // they stay, so that the end of one is not told before the next
  for (const auto& endpoint : (*r)->endpoints()) {
    peers.push_back(std::make_unique<bare_peer>(zmq::socket_type::dealer, endpoint));
    welcome_to(*peers.back(), endpoint);
  }
}

}  // namespace
}  // namespace fxfarm::net
