// Raw DEALER sockets: a client library would spend on each answer what this machine's cores must have for the other
// end. They send requests that were encoded before the clock ran, and look at an answer's frames only as far as it
// takes to know whose they are and that they are all there; the first answer of each connection is decoded and
// compared.
#include "link_bench.hpp"
#include "net/codec.hpp"
#include "net/dialer.hpp"
#include "program.hpp"
#include "runtime/digest.hpp"
#include "runtime/limits.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <unordered_map>

#include <msgpack.hpp>
#include <unistd.h>
#include <zmq.hpp>

namespace fxfarm::bench {
namespace {

constexpr std::chrono::milliseconds answer_max{20'000};

// A farm that is silent but for its heartbeats never answers.
void expect_answer_since(clock::time_point then) {
  if (clock::now() - then > answer_max) throw std::runtime_error("no answer");
}

byte_view view_of(const zmq::message_t& frame) {
  return {static_cast<const std::byte*>(frame.data()), frame.size()};
}

struct piece {
  std::uint64_t stream = 0;
  std::size_t payload_bytes = 0;
};

// What a chunk's frame holds, without a copy of the payload.
piece piece_in(byte_view frame) {
  const auto text = text_of(frame);
  const auto refer = [](msgpack::type::object_type, std::size_t, void*) { return true; };
  const auto root = msgpack::unpack(text.data(), text.size(), refer);
  const auto& body = root.get().via.map.ptr[1].val.via.map;
  return {body.ptr[0].val.as<std::uint64_t>(), body.ptr[2].val.via.bin.size};
}

// One connection with what it waits for.
class asker {
public:
  asker(zmq::context_t& context, const load_shape& shape, const std::vector<bytes>& requests, std::size_t number)
      : shape_(shape),
        requests_(requests),
        next_(number % requests.size()),
        socket_(context, zmq::socket_type::dealer) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvtimeo, static_cast<int>(answer_max.count()));
    socket_.connect(shape.endpoint);
    if (shape.farm) greet("bench-" + std::to_string(::getpid()) + "-" + std::to_string(number));
  }

  void* handle() { return socket_.handle(); }
  std::uint64_t answers() const { return answers_; }
  std::uint64_t received_bytes() const { return received_bytes_; }
  std::uint64_t answer_bytes() const { return answer_bytes_; }
  std::size_t open() const { return open_; }

  void request() {
    const auto& frame = requests_[next_];
    next_ = (next_ + 1) % requests_.size();
    socket_.send(zmq::buffer(frame.data(), frame.size()));
    ++open_;
  }

  // The first answer, and that it is what was asked for.
  void check_first() {
    const auto number = next_;
    request();
    bytes content;
    const auto asked = clock::now();
    while (open_ > 0) {
      const auto frame = receive();
      expect_answer_since(asked);
      if (shape_.farm) append_payload(net::decode(view_of(frame)), content);
      take(frame);
    }
    if (shape_.farm && content != artifact_of(number, shape_.artifact_bytes)) {
      throw std::runtime_error("another artifact came than was asked for");
    }
  }

  // Takes all that is there; tells whether an answer has ended with it.
  bool receive_all() {
    zmq::message_t frame;
    const auto before = answers_;
    while (socket_.recv(frame, zmq::recv_flags::dontwait)) take(frame);
    return answers_ > before;
  }

private:
  struct artifact_coming {
    std::size_t received = 0;  // of its payload
    std::size_t granted = 0;
    std::size_t frames_bytes = 0;
  };

  static void append_payload(const result<net::envelope>& came, bytes& to) {
    if (!came) throw std::runtime_error(to_string(came.failure()));
    const auto* piece = std::get_if<net::chunk>(&came->content);
    if (piece != nullptr) to.insert(to.end(), piece->data.begin(), piece->data.end());
    if (came->enclosed) to.insert(to.end(), came->enclosed->begin(), came->enclosed->end());
  }

  zmq::message_t receive() {
    zmq::message_t frame;
    if (!socket_.recv(frame)) throw std::runtime_error("no answer");
    return frame;
  }

  void send(const net::message& what) {
    const auto frame = net::encode(what);
    socket_.send(zmq::buffer(frame.data(), frame.size()));
  }

  void greet(const std::string& id) {
    net::hello who;
    who.role = "client";
    who.id = id;
    who.host = "bench";
    who.enclosed_bytes = limits::enclosed_bytes_max;
    send(who);
    if (net::tag_in(view_of(receive())) != "welcome") throw std::runtime_error("the coordinator did not welcome us");
  }

  void take(const zmq::message_t& frame) {
    received_bytes_ += frame.size();
    if (shape_.farm) return take_from_farm(frame);
    received_ += frame.size();
    if (received_ == shape_.answer_bytes) end(received_);
  }

  void take_from_farm(const zmq::message_t& frame) {
    const auto tag = net::tag_in(view_of(frame));
    if (tag == "heartbeat") return;
    if (tag == "stage_ready") {
      if (shape_.artifact_bytes <= limits::enclosed_bytes_max) return end(frame.size());
      coming_[net::decode(view_of(frame))->attachment->stream] = {0, limits::credit_bytes_window, frame.size()};
    } else if (tag == "chunk") {
      const auto [stream, payload_bytes] = piece_in(view_of(frame));
      auto& one = coming_.at(stream);
      one.frames_bytes += frame.size();
      one.received += payload_bytes;
      if (one.received < shape_.artifact_bytes) return give_credit(stream, one);
      end(one.frames_bytes);
      coming_.erase(stream);
    } else {
      throw std::runtime_error("not an artifact: " + std::string(text_of(view_of(frame))));
    }
  }

  // As net/stream.cpp does.
  void give_credit(std::uint64_t stream, artifact_coming& one) {
    const auto wanted = std::min(one.received + limits::credit_bytes_window, shape_.artifact_bytes);
    if (wanted <= one.granted || one.granted - one.received > limits::credit_bytes_window / 2) return;
    send(net::credit{stream, wanted - one.granted});
    one.granted = wanted;
  }

  void end(std::size_t frames_bytes) {
    answer_bytes_ = frames_bytes;
    received_ = 0;
    ++answers_;
    --open_;
  }

  const load_shape& shape_;
  const std::vector<bytes>& requests_;
  std::size_t next_;
  zmq::socket_t socket_;
  std::size_t open_ = 0;
  std::uint64_t answers_ = 0;
  std::uint64_t received_bytes_ = 0;
  std::uint64_t answer_bytes_ = 0;
  std::size_t received_ = 0;                                   // of the plain peer's answer that comes
  std::unordered_map<std::uint64_t, artifact_coming> coming_;  // by stream: those that are open come together
};

// A client that only hears heartbeats, and counts the farm as lost when the second in a row is late.
class watcher {
public:
  explicit watcher(const std::string& endpoint) {
    net::dialer_options options;
    options.self.role = "client";
    options.self.id = "bench-watcher-" + std::to_string(::getpid());
    options.link.silence_max = 2 * limits::heartbeat_period;
    auto made = net::dialer::start(std::move(options), [this](const net::inbound_batch& batch) {
      for (const auto& in : batch) lost_ += std::holds_alternative<net::peer_down>(in.event) ? 1 : 0;
    });
    if (!made) throw std::runtime_error(to_string(made.failure()));
    dialer_ = std::move(*made);
    dialer_->connect(endpoint);
  }
  std::uint64_t lost() const { return lost_; }

private:
  std::atomic<std::uint64_t> lost_{0};
  std::unique_ptr<net::dialer> dialer_;  // last: its thread counts
};

std::vector<bytes> requests_for(const load_shape& shape) {
  std::vector<bytes> out;
  if (!shape.farm) return {bytes(shape.request_bytes)};
  for (std::size_t n = 0; n < shape.graphs; ++n) out.push_back(net::encode(lookup_of(n)));
  return out;
}

void wait_for(std::vector<zmq::pollitem_t>& items) {
  if (zmq::poll(items.data(), items.size(), answer_max) == 0) throw std::runtime_error("no answer");
}

}  // namespace

load_result ask(const load_shape& shape) {
  const auto requests = requests_for(shape);
  zmq::context_t context(1);
  std::vector<std::unique_ptr<asker>> askers;
  std::vector<zmq::pollitem_t> items;
  for (std::size_t n = 0; n < shape.connections; ++n) {
    askers.push_back(std::make_unique<asker>(context, shape, requests, n));
    items.push_back({askers.back()->handle(), 0, ZMQ_POLLIN, 0});
    askers.back()->check_first();
  }
  const auto sum_of = [&](auto number) {
    std::uint64_t sum = 0;
    for (const auto& one : askers) sum += (*one.*number)();
    return sum;
  };
  std::optional<watcher> watching;
  if (shape.farm) watching.emplace(shape.endpoint);
  load_result out;
  const auto answers_before = sum_of(&asker::answers);
  const auto bytes_before = sum_of(&asker::received_bytes);
  const auto cpu_before = cpu_seconds();
  const auto each = std::max<std::size_t>(1, shape.outstanding / shape.connections);
  const bool alone = each * shape.connections == 1;
  const auto begin = clock::now();
  auto asked = begin;
  auto answered = begin;
  // A slow peer is given the time for one answer: a rate of none tells nothing.
  while (seconds_since(begin) < shape.seconds || sum_of(&asker::answers) == answers_before) {
    for (auto& one : askers) {
      if (alone) asked = clock::now();
      while (one->open() < each) one->request();
    }
    wait_for(items);
    bool any = false;
    for (auto& one : askers) any |= one->receive_all();
    if (any) answered = clock::now();
    expect_answer_since(answered);
    if (alone && askers.front()->open() == 0) out.waits_us.push_back(seconds_since(asked) * 1e6);
  }
  out.seconds = seconds_since(begin);
  if (watching) out.watcher_lost = watching->lost();
  out.answers = sum_of(&asker::answers) - answers_before;
  out.received_bytes = sum_of(&asker::received_bytes) - bytes_before;
  out.cpu_seconds = cpu_seconds() - cpu_before;
  out.answer_bytes = askers.front()->answer_bytes();
  out.request_bytes = requests.front().size();
  return out;
}

}  // namespace fxfarm::bench
