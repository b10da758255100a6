#include "cli/operator_client.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace fxfarm::cli {
namespace {

using namespace std::chrono_literals;

constexpr const char* endpoint = "ipc:///run/farm.sock";
// Never waited for: whatever a test needs has arrived before it asks.
constexpr auto ample = 60s;

// A link that answers a question with `reply` from inside send.
class scripted_link : public net::outbound {
public:
  scripted_link(operator_client& client, net::inbound_batch reply) : client_(client), reply_(std::move(reply)) {}

  void send(const net::peer_id& to, net::message what, blob) override {
    sent_to.push_back(to);
    asked.push_back(std::get<net::ask>(what));
    client_.receive(reply_);
  }
  void drop(const net::peer_id&, std::string) override {}

  std::vector<net::peer_id> sent_to;
  std::vector<net::ask> asked;

private:
  operator_client& client_;
  net::inbound_batch reply_;
};

net::inbound up() {
  return {endpoint, net::peer_up{}, nullptr};
}
net::inbound down(std::string why) {
  return {endpoint, net::peer_down{{errc::unreachable, std::move(why)}}, nullptr};
}
net::inbound answered(net::answer a) {
  return {endpoint, net::message(std::move(a)), nullptr};
}

std::string outcome(const result<std::string>& r) {
  return r ? *r : to_string(r.failure());
}

TEST(operator_client, asks_once_the_link_is_up_and_returns_the_document) {
  operator_client client(endpoint);
  scripted_link link(client, {answered({1, "{}", "none", ""})});
  client.receive({up()});
  EXPECT_EQ(outcome(client.ask(link, {"status"}, ample)), "{}");
  EXPECT_EQ(link.sent_to, std::vector<std::string>{endpoint});
  ASSERT_EQ(link.asked.size(), 1u);
  EXPECT_EQ(link.asked[0].what, "status");
}

TEST(operator_client, names_the_endpoint_in_whatever_goes_wrong) {
  struct row {
    net::inbound_batch before;
    net::inbound_batch reply;
    std::string outcome;
  };
  const row rows[] = {
      {{down("connection refused")}, {}, "unreachable: ipc:///run/farm.sock: connection refused"},
      {{up()}, {down("peer fell silent")}, "unreachable: ipc:///run/farm.sock: peer fell silent"},
      {{up()}, {answered({1, "", "refused", "operators only"})}, "refused: ipc:///run/farm.sock: operators only"},
      {{up()}, {answered({1, "", "from_the_future", "why"})}, "internal: ipc:///run/farm.sock: why"},
  };
  for (const auto& r : rows) {
    operator_client client(endpoint);
    scripted_link link(client, r.reply);
    client.receive(r.before);
    EXPECT_EQ(outcome(client.ask(link, {"status"}, ample)), r.outcome);
  }
}

TEST(operator_client, a_link_that_came_back_is_up) {
  operator_client client(endpoint);
  scripted_link link(client, {answered({1, "{}", "none", ""})});
  client.receive({down("no route"), up()});
  EXPECT_EQ(outcome(client.ask(link, {"status"}, ample)), "{}");
}

TEST(operator_client, gives_up_on_a_link_that_never_comes_up) {
  operator_client client(endpoint);
  scripted_link link(client, {});
  EXPECT_EQ(outcome(client.ask(link, {"status"}, 1ms)),
            "unreachable: ipc:///run/farm.sock: no coordinator answers there");
  EXPECT_TRUE(link.asked.empty());
}

TEST(operator_client, passes_over_answers_to_questions_it_did_not_ask_and_gives_up_in_the_end) {
  operator_client client(endpoint);
  scripted_link link(client, {answered({2, "{}", "none", ""}), {endpoint, net::message(net::job_alive{}), nullptr}});
  client.receive({up()});
  EXPECT_EQ(outcome(client.ask(link, {"graphs"}, 1ms)), "timeout: ipc:///run/farm.sock: no answer to \"graphs\"");
}

}  // namespace
}  // namespace fxfarm::cli
