#include "link_bench.hpp"

#include <algorithm>
#include <deque>
#include <iostream>

#include <unistd.h>
#include <zmq.hpp>

namespace fxfarm::bench {
namespace {

// ZeroMQ does not always wake who waits for a slow peer's pipe: when it learns in a call for another one that there is
// room, that was the wake.
constexpr std::chrono::milliseconds blocked_retry{1};

struct waiting {
  zmq::message_t routing;
  std::size_t left;  // bytes
};

class plain_peer {
public:
  explicit plain_peer(const plain_shape& shape) : shape_(shape), socket_(context_, zmq::socket_type::router) {
    if (shape.messages_max > 0) {
      socket_.set(zmq::sockopt::sndhwm, static_cast<int>(shape.messages_max));
      socket_.set(zmq::sockopt::rcvhwm, static_cast<int>(shape.messages_max));
    }
    // Then a send to a slow peer is refused, and nothing is dropped.
    socket_.set(zmq::sockopt::router_mandatory, true);
    socket_.set(zmq::sockopt::linger, 0);
    socket_.bind(shape.endpoint);
    content_.resize(shape.piece_bytes > 0 ? shape.piece_bytes : shape.answer_bytes);
  }

  void run() {
    std::cout << socket_.get(zmq::sockopt::last_endpoint) << std::endl;
    std::array<zmq::pollitem_t, 2> items{
        {{socket_.handle(), 0, ZMQ_POLLIN, 0}, {nullptr, STDIN_FILENO, ZMQ_POLLIN, 0}}};
    while (items[1].revents == 0) {
      receive();
      const bool sent = answer();
      const auto wait = open_.empty() ? std::chrono::milliseconds(-1) : blocked_retry;
      if (!sent) zmq::poll(items.data(), items.size(), wait);
    }
  }

private:
  void receive() {
    constexpr std::size_t batch_max = 256;
    for (std::size_t n = 0; n < batch_max; ++n) {
      zmq::message_t routing;
      zmq::message_t content;
      if (!socket_.recv(routing, zmq::recv_flags::dontwait)) return;
      if (!socket_.recv(content)) return;
      open_.push_back({std::move(routing), shape_.answer_bytes});
    }
  }

  // One message to each who waits, so that none has to wait for another's whole answer. False when nobody took one.
  bool answer() {
    bool sent = false;
    for (auto turns = open_.size(); turns > 0; --turns) {
      auto one = std::move(open_.front());
      open_.pop_front();
      zmq::message_t routing;
      routing.copy(one.routing);
      try {
        if (socket_.send(routing, zmq::send_flags::sndmore | zmq::send_flags::dontwait)) {
          const auto size = std::min(one.left, content_.size());
          socket_.send(zmq::buffer(content_.data(), size), zmq::send_flags::none);
          one.left -= size;
          sent = true;
        }
      } catch (const zmq::error_t& e) {
        if (e.num() == EHOSTUNREACH) continue;  // it has hung up
        throw;
      }
      if (one.left > 0) open_.push_back(std::move(one));
    }
    return sent;
  }

  plain_shape shape_;
  zmq::context_t context_{1};
  zmq::socket_t socket_;
  bytes content_;
  std::deque<waiting> open_;
};

}  // namespace

void serve_plainly(const plain_shape& shape) {
  plain_peer(shape).run();
}

}  // namespace fxfarm::bench
