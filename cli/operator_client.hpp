#pragma once
// A command line's question to a coordinator.

#include "net/curve.hpp"
#include "net/link.hpp"
#include "runtime/error.hpp"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace fxfarm::cli {

// See net::ask.
struct question {
  std::string what;
  std::map<std::string, std::string> arguments = {};
};

// One question and its answer, over a link that somebody else opens: give `receive` to it as its sink. It must outlive
// the link.
class operator_client {
public:
  explicit operator_client(std::string endpoint) : endpoint_(std::move(endpoint)) {}

  // Any thread.
  void receive(net::inbound_batch batch);

  // Waits for the link, asks, waits for the answer; `within` bounds all of it. Returns the JSON document. Errors:
  // unreachable when the link does not come up or is lost, timeout when the coordinator does not answer, and whatever
  // the coordinator answers; all name the endpoint.
  result<std::string> ask(net::outbound& link, question q, std::chrono::milliseconds within);

private:
  error failed(errc code, const std::string& why) const { return {code, endpoint_ + ": " + why}; }

  const std::string endpoint_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool up_ = false;
  std::optional<error> lost_;
  std::optional<net::answer> answer_;
};

// Where a coordinator is, and how to prove to it who asks.
struct farm_address {
  std::string endpoint;
  std::optional<net::presenting> keys = {};  // none: unencrypted
};

// Dials the endpoint and asks; bounded by limits::operator_reply_max.
result<std::string> ask_coordinator(const farm_address& farm, question q);

}  // namespace fxfarm::cli
