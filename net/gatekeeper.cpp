#include "net/gatekeeper.hpp"

#include "monitoring/log.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

namespace fxfarm::net {
namespace {

constexpr const char* zap_endpoint = "inproc://zeromq.zap.01";
constexpr const char* events_endpoint = "inproc://connections";
constexpr const char* domain = "fxfarm";
// More events than ZeroMQ keeps for who has not read them yet: a thousand at each end.
constexpr std::size_t events_waiting_max = 2'048;
constexpr std::size_t key_bytes = 32;
// What encryption adds to a message: a flag, the command's name, a nonce and a tag.
constexpr std::int64_t curve_bytes_more = 64;

constexpr int failures =
    ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;  // _AUTH is what we said ourselves
constexpr int comings_and_goings = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED;

// What every message of a connection carries that was let in. A peer may name properties of its own, but ZeroMQ has
// ours win.
constexpr const char* ticket_property = "Fxfarm-Ticket";
// ZAP's status. ZeroMQ passes those from 400 on to the peer; at 300, a temporary error, it hangs up without a word, as
// it does on one that expects another key.
constexpr const char* known_status = "200";
constexpr const char* unknown_status = "400";
constexpr const char* too_many_status = "500";

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

// One property, as ZMTP and ZAP write them: each part behind its length.
std::string metadata_of(connection_table::ticket given) {
  const std::string_view name = ticket_property;
  const auto value = std::to_string(given);
  std::string out(1, static_cast<char>(name.size()));
  out += name;
  out += {0, 0, 0, static_cast<char>(value.size())};
  return out + value;
}

file_handle event_handle() {
  file_handle made(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!made) throw std::system_error(errno, std::generic_category(), "eventfd");
  return made;
}

// Of the public key in a request; empty when that is not one of CURVE's.
std::string key_in(const std::vector<std::string>& request) {
  if (request.size() != 7 || request[5] != "CURVE" || request[6].size() != key_bytes) return {};
  std::string key(curve_key_chars + 1, '\0');
  const auto* credentials = reinterpret_cast<const std::uint8_t*>(request[6].data());
  if (::zmq_z85_encode(key.data(), credentials, key_bytes) == nullptr) return {};
  key.resize(curve_key_chars);
  return key;
}

// The other end's address, of IPv6 the part that a network gives to one site; empty when it has none, or has left.
std::string address_of(int descriptor) {
  constexpr std::size_t site_bytes = 8;
  sockaddr_storage found{};
  socklen_t size = sizeof found;
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&found), &size) != 0) return {};
  if (found.ss_family == AF_INET) {
    const auto& at = reinterpret_cast<const sockaddr_in&>(found).sin_addr;
    return {reinterpret_cast<const char*>(&at), sizeof at};
  }
  if (found.ss_family != AF_INET6) return {};
  const auto& at = reinterpret_cast<const sockaddr_in6&>(found).sin6_addr;
  const auto* bytes = reinterpret_cast<const char*>(&at);
  return IN6_IS_ADDR_V4MAPPED(&at) ? std::string(bytes + 12, 4) : std::string(bytes, site_bytes);
}

}  // namespace

gatekeeper::gatekeeper(zmq::context_t& context, const accepting* who, connection_bounds bounds, link_counters& counters,
                       listener told)
    : who_(who),
      counters_(counters),
      told_(std::move(told)),
      zap_(context, zmq::socket_type::rep),
      monitor_(context, zmq::socket_type::pair),
      wake_(event_handle()),
      closer_(wake_.get()),
      table_(bounds) {
  monitor_.set(zmq::sockopt::linger, 0);
  zap_.set(zmq::sockopt::linger, 0);
  zap_.bind(zap_endpoint);
}

gatekeeper::~gatekeeper() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  wake();
  thread_.join();
}

void gatekeeper::wake() const {
  const std::uint64_t one = 1;
  while (::write(wake_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void gatekeeper::guard(zmq::socket_t& socket) {
  if (who_ != nullptr) {
    socket.set(zmq::sockopt::curve_server, true);
    socket.set(zmq::sockopt::curve_secretkey, who_->secret_key);
    make_room(socket);
  }
  // ZeroMQ would let everybody in if nobody listened to its question; but then no message says whose it is, and a
  // router asks that of each. Without keys everybody is let in, with a ticket.
  socket.set(zmq::sockopt::zap_domain, domain);
  const int events = who_ == nullptr ? comings_and_goings : comings_and_goings | failures;
  if (::zmq_socket_monitor(socket.handle(), events_endpoint, events) != 0) throw zmq::error_t();
  monitor_.connect(events_endpoint);
}

void gatekeeper::start() {
  thread_ = std::thread([this] { run(); });
}

void gatekeeper::run() {
  block_signals();
  std::array<zmq::pollitem_t, 3> items{zmq::pollitem_t{nullptr, wake_.get(), ZMQ_POLLIN, 0},
                                       zmq::pollitem_t{monitor_.handle(), 0, ZMQ_POLLIN, 0},
                                       zmq::pollitem_t{zap_.handle(), 0, ZMQ_POLLIN, 0}};
  received event;
  while (!stopping_) {
    ::zmq_poll(items.data(), items.size(), poll_timeout(next_deadline(), clock::now()));
    std::uint64_t woken = 0;
    if ((items[0].revents & ZMQ_POLLIN) != 0) (void)!::read(wake_.get(), &woken, sizeof woken);
    // So many: the coming of whoever asks is among them, as the table wants it, since ZeroMQ's thread tells of that
    // first. And no more: neither a question nor the end waits for a flood of connections.
    for (std::size_t n = 0; n < events_waiting_max && receive_parts(monitor_, event); ++n) note(event);
    hang_up_on_due();
    // Last: who has gone by now makes room for who asks.
    if ((items[2].revents & ZMQ_POLLIN) != 0) answer();
  }
}

std::optional<time_point> gatekeeper::next_deadline() {
  std::lock_guard lock(mutex_);
  return table_.next_deadline();
}

std::set<int> gatekeeper::take_ended() {
  std::lock_guard lock(mutex_);
  return std::exchange(ended_, {});
}

bool gatekeeper::heard(int descriptor, connection_table::ticket shown) {
  std::lock_guard lock(mutex_);
  return table_.heard(descriptor, shown);
}

void gatekeeper::joined(int descriptor, connection_table::ticket shown) {
  std::lock_guard lock(mutex_);
  table_.joined(descriptor, shown);
}

void gatekeeper::left(int descriptor, connection_table::ticket shown) {
  change([&](time_point now) { table_.left(descriptor, shown, now); });
}

void gatekeeper::replaced(int descriptor, connection_table::ticket shown) {
  change([&](time_point now) { table_.replaced(descriptor, shown, now); });
}

void gatekeeper::change(const std::function<void(time_point)>& what) {
  bool earlier = false;
  {
    std::lock_guard lock(mutex_);
    const auto before = table_.next_deadline();
    what(clock::now());
    const auto after = table_.next_deadline();
    earlier = after && (!before || *after < *before);
  }
  if (earlier) wake();
}

// The request: version, request id, domain, address, routing id, mechanism, credentials.
void gatekeeper::answer() {
  const auto parts = receive_all(zap_);
  if (parts.empty()) return;
  const auto key = who_ == nullptr ? std::string() : key_in(parts);
  const bool known = who_ == nullptr || (!key.empty() && who_->keys()->knows(key));
  std::optional<connection_table::ticket> given;
  if (known) {
    std::lock_guard lock(mutex_);
    given = table_.let_in(key, clock::now());
  }
  if (!known) {
    link_counters::add(counters_.refused_for(refusal::unknown_key));
    log_refusal(key, parts.size() > 3 ? parts[3] : std::string());
  } else if (!given) {
    told_.too_many();
  }
  const std::array<std::string, 6> reply{"1.0",
                                         parts.size() > 1 ? parts[1] : std::string(),
                                         !known  ? unknown_status
                                         : given ? known_status
                                                 : too_many_status,
                                         !known  ? "the key is not authorized"
                                         : given ? "OK"
                                                 : "the key has as many connections as it may",
                                         given ? key : std::string(),
                                         given ? metadata_of(*given) : std::string()};
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const int more = i + 1 < reply.size() ? ZMQ_SNDMORE : 0;
    while (::zmq_send(zap_.handle(), reply[i].data(), reply[i].size(), ZMQ_DONTWAIT | more) < 0) {
      if (errno != EINTR) return;
    }
  }
}

void gatekeeper::note(const received& event) {
  const auto what = socket_event(event);
  if (what.number == ZMQ_EVENT_ACCEPTED) return note_accepted(static_cast<int>(what.value));
  if (what.number == ZMQ_EVENT_DISCONNECTED) return note_ended(static_cast<int>(what.value));
  count_refused(what);
}

void gatekeeper::note_accepted(int descriptor) {
  // It may have gone by now, and another one have come in its place; then that is told next, and counts from there.
  const auto inode = inode_of(descriptor);
  const auto address = address_of(descriptor);
  bool room = true;
  {
    std::lock_guard lock(mutex_);
    room = table_.accepted(descriptor, inode, address, clock::now());
  }
  if (room) return;
  link_counters::add(counters_.refused_for(refusal::too_many));
  hang_up(descriptor, inode);
}

void gatekeeper::note_ended(int descriptor) {
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    table_.ended(descriptor);
    first = ended_.empty();
    ended_.insert(descriptor);
  }
  if (first) told_.ended();
}

void gatekeeper::hang_up_on_due() {
  std::vector<connection_table::hang_up> due;
  {
    std::lock_guard lock(mutex_);
    due = table_.take_due(clock::now());
  }
  for (const auto& one : due) {
    if (!one.ever_a_peer) link_counters::add(counters_.refused_for(refusal::no_hello));
    hang_up(one.descriptor, one.inode);
  }
}

void gatekeeper::hang_up(int descriptor, ino_t inode) {
  const auto done = closer_.hang_up(descriptor, inode);
  if (!done && failures_logged_.due(clock::now())) {
    const auto unlogged = std::to_string(failures_logged_.take_passed_over());
    log::warning("a connection could not be hung up on",
                 {{"why", done.failure().message}, {"not_logged_before", unlogged}});
  }
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
  if (!refusals_logged_.due(clock::now())) return;
  const auto unlogged = std::to_string(refusals_logged_.take_passed_over());
  log::warning("a key that is not authorized was refused",
               {{"key", key}, {"address", address}, {"not_logged_before", unlogged}});
}

bool gatekeeper::pace::due(time_point now) {
  if (last_ != time_point::min() && now < last_ + limits::refusals_logged) {
    ++passed_over_;
    return false;
  }
  last_ = now;
  return true;
}

int descriptor_of(const zmq::message_t& message) {
  return ::zmq_msg_get(message.handle(), ZMQ_SRCFD);
}

std::string key_of(const zmq::message_t& message) {
  const char* key = ::zmq_msg_gets(const_cast<zmq::message_t&>(message).handle(), "User-Id");
  return key == nullptr ? std::string() : std::string(key);
}

connection_table::ticket ticket_of(const zmq::message_t& message) {
  const char* shown = ::zmq_msg_gets(const_cast<zmq::message_t&>(message).handle(), ticket_property);
  if (shown == nullptr) return 0;
  const std::string_view text(shown);
  connection_table::ticket number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

void present(zmq::socket_t& socket, const key_pair& own, const std::string& server_key) {
  socket.set(zmq::sockopt::curve_publickey, own.public_key);
  socket.set(zmq::sockopt::curve_secretkey, own.secret_key);
  socket.set(zmq::sockopt::curve_serverkey, server_key);
  make_room(socket);
}

}  // namespace fxfarm::net
