#pragma once
// A router for tests over real sockets: it is on one side, a bare socket on the other.

#include "net/router.hpp"
#include "peers.hpp"

#include <memory>
#include <string>

#include <gtest/gtest.h>

namespace fxfarm::net {

struct at_router : ::testing::Test {
  result<std::unique_ptr<router>> start(const std::string& endpoint, link_options link = {},
                                        std::size_t peers_max = 10) {
    return router::start({{endpoint}, "c1", "0.1.0", peers_max, link}, seen.sink());
  }
  std::unique_ptr<router> started(link_options link = {}, std::size_t peers_max = 10) {
    auto one = start(dir.endpoint(), link, peers_max);
    EXPECT_TRUE(one) << to_string(one.failure());
    return one ? std::move(*one) : nullptr;
  }
  // A peer that has shaken hands, and the id the router gave it.
  peer_id welcome_to(bare_peer& peer, const std::string& id = "p") {
    peer.send(hello_of(id));
    EXPECT_TRUE(peer.receive_a<welcome>());
    const auto up = seen.next();
    EXPECT_TRUE(content_of<peer_up>(up));
    return up ? up->peer : "";
  }

  temp_dir dir;
  recorder seen;
};

}  // namespace fxfarm::net
