#include "net/router_loop.hpp"

#include "net/listening.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include <poll.h>

namespace fxfarm::net {
namespace {

// A peer's pipe can become writable without a wake of ours, when ZeroMQ learns of it during a call for another peer.
constexpr std::chrono::milliseconds blocked_retry{5};
// From the end of a connection, or from what has been read of it since, until the socket refuses to send there.
constexpr std::chrono::milliseconds ended_settles{20};
// Connections whose last words wait for room in their pipes; those of others are lost.
constexpr std::size_t unsaid_max = 256;

}  // namespace

router::loop::loop(router_options options, inbound_sink sink)
    : options_(std::move(options)),
      socket_(context_, zmq::socket_type::router),
      told_(std::move(sink), options_.link.batch_max, options_.link.inbound_bytes_max) {
  set_bounds(socket_, options_.link);
  socket_.set(zmq::sockopt::router_mandatory, true);
  connection_bounds bounds;
  // Without keys all have the same, none: they are counted when they are peers.
  bounds.per_key = options_.accept ? options_.quotas.connections + limits::connections_refused_in_words
                                   : std::numeric_limits<std::size_t>::max();
  bounds.unheard_per_address = options_.unheard_per_address;
  bounds.patience = options_.link.handshake_timeout;
  gatekeeper::listener told;
  told.ended = [this] { push({router_command::kind::ended, {}, {}, nullptr, {}}); };
  told.too_many = [this] { tell_quota_passed("connections"); };
  gate_ = std::make_unique<gatekeeper>(context_, options_.accept ? &*options_.accept : nullptr, bounds, counters,
                                       std::move(told));
  gate_->guard(socket_);
}

result<void> router::loop::bind() {
  if (outbox_.fd() < 0 || told_.room_fd() < 0) return {errc::io, "eventfd: the system gives no more"};
  for (const auto& endpoint : options_.endpoints) {
    auto bound = listen_on(socket_, endpoint);
    if (!bound) return bound.failure();
    endpoints.push_back(*std::move(bound));
  }
  return {};
}

void router::loop::start() {
  gate_->start();
  thread_ = std::thread([this] { run(); });
}

void router::loop::stop(clock::duration finish) {
  if (!thread_.joinable()) return;
  finish_ = finish;
  push({router_command::kind::stop, {}, {}, nullptr, {}});
  thread_.join();
}

void router::loop::run() {
  block_signals();
  while (!over()) {
    now_ = clock::now();
    take_commands();
    receive();
    fire_timers();
    flush(std::exchange(ready_, {}));
    say_unsaid();
    told_.hand_over();
    if (!over()) wait();
  }
  for (const auto& [routing, p] : peers_.by_routing()) write(routing, {encode(goodbye{"the coordinator stops"})});
  let_linger(socket_);
  socket_.close();
  gate_.reset();
  context_.close();
}

void router::loop::wait() {
  // What actors have not looked at yet is enough: nothing is read before they have.
  unread_ = told_.is_full();
  const bool more = !unread_ && readable(socket_);
  // Also when others keep us busy: their pipes may have room by now.
  const bool blocked = !blocked_.empty();
  ready_.merge(blocked_);
  if (more) return;
  auto until = peers_.next_deadline();
  const auto no_later_than = [&](time_point then) { until = std::min(until.value_or(then), then); };
  if (stop_at_) no_later_than(*stop_at_);
  if (!ended_.empty()) no_later_than(ended_.front().first);
  if (blocked || !unsaid_.empty()) no_later_than(now_ + blocked_retry);
  std::array<pollfd, 2> fds{pollfd{unread_ ? told_.room_fd() : socket_.get(zmq::sockopt::fd), POLLIN, 0},
                            pollfd{outbox_.fd(), POLLIN, 0}};
  ::poll(fds.data(), fds.size(), poll_timeout(until, clock::now()));
  if (unread_) told_.take_wake();
}

bool router::loop::over() const {
  return stop_at_ && (now_ >= *stop_at_ || !unsent());
}

bool router::loop::unsent() const {
  const auto& all = peers_.by_routing();
  return std::any_of(all.begin(), all.end(), [](const auto& p) { return p.second->link.unsent(); });
}

void router::loop::take_commands() {
  outbox_.take(commands_, overrun_);
  for (const auto& id : overrun_) {
    if (auto* p = peers_.with_id(id)) overrun(*p);
  }
  for (auto& c : commands_) {
    if (c.what == router_command::kind::stop) stop_at_ = now_ + finish_;
    if (c.what == router_command::kind::recheck) recheck();
    if (c.what == router_command::kind::ended) {
      for (const auto descriptor : gate_->take_ended()) note_ended(descriptor);
    }
    auto* p = peers_.with_id(c.peer);
    if (p == nullptr) continue;
    if (c.what == router_command::kind::drop) {
      flush({p});
      // The flush may have found it gone.
      if (peers_.with_id(c.peer) != nullptr) remove(*p, {errc::refused, c.text}, goodbye{c.text});
    } else {
      push(*p, std::move(c.encoded), std::move(c.attachment), std::move(c.text));
    }
  }
  commands_.clear();
}

void router::loop::note_ended(int descriptor) {
  if (const auto* p = peers_.with_descriptor(descriptor)) ended_.emplace_back(now_ + ended_settles, p->id);
}

void router::loop::try_ended() {
  while (!ended_.empty() && ended_.front().first <= now_) {
    auto* p = peers_.with_id(ended_.front().second);
    ended_.pop_front();
    if (p == nullptr) continue;
    // What it has sent may lie there unread.
    if (unread_ || now_ - p->link.heard() < ended_settles) {
      ended_.emplace_back(now_ + ended_settles, p->id);
    } else {
      push(*p, encode(heartbeat{}));
    }
  }
}

void router::loop::overrun(router_peer& p) {
  const error why{errc::busy, "too many messages wait to be sent"};
  reject(p.routing, why);
  remove(p, why);
}

void router::loop::push(router_peer& p, bytes encoded, blob attachment, std::string digest) {
  auto queued = p.link.push(std::move(encoded), std::move(attachment), std::move(digest));
  if (queued) {
    if (!blocked_.contains(&p)) ready_.insert(&p);
  } else {
    reject(p.routing, queued.failure());
    remove(p, queued.failure());
  }
}

void router::loop::receive() {
  received in;
  for (std::size_t n = 0; n < options_.link.batch_max; ++n) {
    if (told_.is_full() || !receive_parts(socket_, in)) return;
    hear(in);
  }
}

void router::loop::take(router_peer& p, envelope&& came, bool over_quota) {
  auto got = p.link.receive(std::move(came), now_);
  switch (got.what) {
    case session::verdict::nothing:
      ready_.insert(&p);
      break;  // credit may have come, or is to be given
    case session::verdict::deliver:
      told_.tell(p.id, std::move(got.content), std::move(got.attachment), std::move(got.digest), over_quota);
      break;
    case session::verdict::left:
      remove(p, got.why);
      break;
    case session::verdict::broke_rules:
      reject(p.routing, got.why);
      remove(p, got.why);
      break;
  }
}

void router::loop::fire_timers() {
  try_ended();
  while (auto* p = peers_.due(now_)) {
    if (unread_) p->link.not_listened(now_);
    if (auto alive = p->link.tick(now_); alive) {
      peers_.rearm(*p);
      ready_.insert(p);
    } else {
      reject(p->routing, alive.failure());
      remove(*p, alive.failure());
    }
  }
}

void router::loop::flush(const std::unordered_set<router_peer*>& some) {
  for (auto* p : some) {
    const auto put = [&](const frame& what) { return write(p->routing, what); };
    switch (p->link.flush(put, now_)) {
      case session::write_result::written:
        break;
      case session::write_result::full:
        blocked_.insert(p);
        break;
      case session::write_result::gone:
        remove(*p, {errc::unreachable, "the connection is closed"});
        break;
    }
  }
}

session::write_result router::loop::write(const std::string& routing, const frame& what) {
  const auto routed = send_routing(socket_, routing);
  return routed == session::write_result::written ? send_frame(socket_, what) : routed;
}

void router::loop::reject(const std::string& routing, const error& why) {
  link_counters::add(counters.rejected_for(why.code));
  say_last(routing, rejected{std::string(to_string(why.code)), why.message});
}

void router::loop::say_last(const std::string& routing, const message& words) {
  auto encoded = encode(words);
  if (write(routing, {encoded}) != session::write_result::full || unsaid_.size() >= unsaid_max) return;
  // By then it has been hung up on.
  unsaid_.try_emplace(routing, last_words{std::move(encoded), now_ + 2 * options_.link.handshake_timeout});
}

void router::loop::say_unsaid() {
  std::erase_if(unsaid_, [this](const auto& one) {
    const auto& [routing, words] = one;
    return now_ >= words.until || write(routing, {words.encoded}) != session::write_result::full;
  });
}

void router::loop::remove(router_peer& p, const error& why, const std::optional<message>& last_words) {
  if (last_words) say_last(p.routing, *last_words);
  told_.tell(p.id, peer_down{why});
  link_counters::take(counters.peers_up);
  ready_.erase(&p);
  blocked_.erase(&p);
  quotas_.leave(*p.account);
  gate_->left(p.descriptor, p.ticket);
  peers_.remove(p);
}

}  // namespace fxfarm::net
