#include "net/gatekeeper.hpp"

#include "monitoring/log.hpp"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/eventfd.h>

namespace fxfarm::net {
namespace {

constexpr const char* zap_endpoint = "inproc://zeromq.zap.01";
constexpr const char* events_endpoint = "inproc://connections";
constexpr const char* domain = "fxfarm";
constexpr std::size_t key_bytes = 32;
// What encryption adds to a message: a flag, the command's name, a nonce and a tag.
constexpr std::int64_t curve_bytes_more = 64;

constexpr int failures =
    ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;  // _AUTH is what we said ourselves
constexpr int ends = ZMQ_EVENT_DISCONNECTED;

void make_room(zmq::socket_t& socket) {
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(limits::frame_bytes_max) + curve_bytes_more);
}

// All parts; nothing when the message is longer than any that ZAP has.
std::vector<std::string> receive_all(zmq::socket_t& from) {
  constexpr std::size_t parts_max = 16;
  std::vector<std::string> parts;
  while (true) {
    zmq::message_t part;
    if (::zmq_msg_recv(part.handle(), from.handle(), ZMQ_DONTWAIT) < 0) {
      if (errno == EINTR) continue;
      return {};
    }
    if (parts.size() < parts_max) parts.push_back(part.to_string());
    if (!part.more()) return parts;
  }
}

}  // namespace

gatekeeper::gatekeeper(zmq::context_t& context, const accepting* who, link_counters& counters,
                       std::function<void()> ended)
    : who_(who),
      counters_(counters),
      on_ended_(std::move(ended)),
      monitor_(context, zmq::socket_type::pair),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!stop_) throw std::system_error(errno, std::generic_category(), "eventfd");
  monitor_.set(zmq::sockopt::linger, 0);
  if (who_ == nullptr) return;
  zap_.emplace(context, zmq::socket_type::rep);
  zap_->set(zmq::sockopt::linger, 0);
  zap_->bind(zap_endpoint);
}

gatekeeper::~gatekeeper() {
  const std::uint64_t one = 1;
  if (thread_.joinable()) {
    while (::write(stop_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
    thread_.join();
  }
}

void gatekeeper::guard(zmq::socket_t& socket) {
  if (who_ != nullptr) {
    socket.set(zmq::sockopt::curve_server, true);
    socket.set(zmq::sockopt::curve_secretkey, who_->secret_key);
    // ZeroMQ would let everybody in if nobody listened to its question; but then no message says whose it is, and a
    // router asks that of each.
    socket.set(zmq::sockopt::zap_domain, domain);
    make_room(socket);
  }
  const int events = who_ == nullptr ? ends : ends | failures;
  if (::zmq_socket_monitor(socket.handle(), events_endpoint, events) != 0) throw zmq::error_t();
  monitor_.connect(events_endpoint);
}

void gatekeeper::start() {
  thread_ = std::thread([this] { run(); });
}

void gatekeeper::run() {
  block_signals();
  std::array<zmq::pollitem_t, 3> items{zmq::pollitem_t{nullptr, stop_.get(), ZMQ_POLLIN, 0},
                                       zmq::pollitem_t{monitor_.handle(), 0, ZMQ_POLLIN, 0},
                                       zmq::pollitem_t{zap_ ? zap_->handle() : nullptr, 0, ZMQ_POLLIN, 0}};
  const int count = zap_ ? 3 : 2;
  received event;
  while ((items[0].revents & ZMQ_POLLIN) == 0) {
    ::zmq_poll(items.data(), count, -1);
    if ((items[2].revents & ZMQ_POLLIN) != 0) answer(*zap_);
    // In batches: neither a question nor the end waits for a flood of connections.
    for (std::size_t n = 0; n < limits::inbound_batch_max && receive_parts(monitor_, event); ++n) note(event);
  }
}

std::set<int> gatekeeper::take_ended() {
  std::lock_guard lock(mutex_);
  return std::exchange(ended_, {});
}

// The request: version, request id, domain, address, routing id, mechanism, credentials.
void gatekeeper::answer(zmq::socket_t& zap) {
  const auto parts = receive_all(zap);
  if (parts.empty()) return;
  std::string key;
  if (parts.size() == 7 && parts[5] == "CURVE" && parts[6].size() == key_bytes) {
    key.resize(curve_key_chars + 1);
    const auto* credentials = reinterpret_cast<const std::uint8_t*>(parts[6].data());
    key = ::zmq_z85_encode(key.data(), credentials, key_bytes) == nullptr ? std::string()
                                                                          : key.substr(0, curve_key_chars);
  }
  const bool known = !key.empty() && who_->keys()->knows(key);
  if (!known) {
    link_counters::add(counters_.refused_for(refusal::unknown_key));
    log_refusal(key, parts.size() > 3 ? parts[3] : std::string());
  }
  const std::array<std::string, 6> reply{"1.0",
                                         parts.size() > 1 ? parts[1] : std::string(),
                                         known ? "200" : "400",
                                         known ? "OK" : "the key is not authorized",
                                         known ? key : std::string(),
                                         ""};
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const int more = i + 1 < reply.size() ? ZMQ_SNDMORE : 0;
    while (::zmq_send(zap.handle(), reply[i].data(), reply[i].size(), ZMQ_DONTWAIT | more) < 0) {
      if (errno != EINTR) return;
    }
  }
}

void gatekeeper::note(const received& event) {
  const auto what = socket_event(event);
  if (what.number != ZMQ_EVENT_DISCONNECTED) return count_refused(what);
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    first = ended_.empty();
    ended_.insert(static_cast<int>(what.value));
  }
  if (first) on_ended_();
}

void gatekeeper::count_refused(const event_value& failure) {
  const auto [number, value] = failure;
  auto why = refusal::malformed;
  if (number == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) {
    why = refusal::unfinished;
  } else if (value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH) {
    why = refusal::no_key;
  } else if (value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC) {
    why = refusal::wrong_server_key;
  }
  link_counters::add(counters_.refused_for(why));
}

// The key is shown so that whoever trusts it can authorize it.
void gatekeeper::log_refusal(const std::string& key, const std::string& address) {
  const auto now = clock::now();
  if (logged_ != time_point::min() && now < logged_ + limits::refusals_logged) {
    ++unlogged_;
    return;
  }
  logged_ = now;
  const auto unlogged = std::to_string(unlogged_);
  log::warning("a key that is not authorized was refused",
               {{"key", key}, {"address", address}, {"not_logged_before", unlogged}});
  unlogged_ = 0;
}

int descriptor_of(const zmq::message_t& message) {
  return ::zmq_msg_get(message.handle(), ZMQ_SRCFD);
}

std::string key_of(const zmq::message_t& message) {
  const char* key = ::zmq_msg_gets(const_cast<zmq::message_t&>(message).handle(), "User-Id");
  return key == nullptr ? std::string() : std::string(key);
}

void present(zmq::socket_t& socket, const key_pair& own, const std::string& server_key) {
  socket.set(zmq::sockopt::curve_publickey, own.public_key);
  socket.set(zmq::sockopt::curve_secretkey, own.secret_key);
  socket.set(zmq::sockopt::curve_serverkey, server_key);
  make_room(socket);
}

}  // namespace fxfarm::net
