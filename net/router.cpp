#include "net/router.hpp"

#include "net/router_loop.hpp"

#include <system_error>

namespace fxfarm::net {

result<std::unique_ptr<router>> router::start(router_options options, inbound_sink sink) {
  try {
    auto running = std::make_unique<loop>(std::move(options), std::move(sink));
    if (auto bound = running->bind(); !bound) return bound.failure();
    running->start();
    return std::unique_ptr<router>(new router(std::move(running)));
  } catch (const zmq::error_t& e) {
    return {errc::io, std::string("router: ") + e.what()};
  } catch (const std::system_error& e) {
    return {errc::io, std::string("router: ") + e.what()};
  }
}

router::router(std::unique_ptr<loop> running) : loop_(std::move(running)) {}

router::~router() {
  stop();
}

void router::send(const peer_id& to, message what, blob attachment) {
  // Encoded here, so that neither the socket's thread has to, nor does it free what another one has made.
  auto encoded = encode(what, room_to_enclose(attachment));
  auto digest = loop_->digests.of(attachment);
  loop_->push_message({router_command::kind::send, to, std::move(encoded), std::move(attachment), std::move(digest)});
}

void router::hold() {
  loop_->hold();
}

void router::let_go() {
  loop_->let_go();
}

void router::drop(const peer_id& to, std::string reason) {
  loop_->push({router_command::kind::drop, to, {}, nullptr, std::move(reason)});
}

void router::recheck() {
  loop_->push({router_command::kind::recheck, {}, {}, nullptr, {}});
}

void router::stop(std::chrono::milliseconds finish) {
  loop_->stop(finish);
}

const std::vector<std::string>& router::endpoints() const {
  return loop_->endpoints;
}

const link_counters& router::counters() const {
  return loop_->counters;
}

}  // namespace fxfarm::net
