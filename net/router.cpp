#include "net/router.hpp"

#include "net/admission.hpp"
#include "net/attachment_digests.hpp"
#include "net/gatekeeper.hpp"
#include "net/listening.hpp"
#include "net/outbox.hpp"
#include "net/over_quota.hpp"
#include "net/router_peers.hpp"
#include "net/sockets.hpp"
#include "net/told.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <thread>
#include <unordered_set>

#include <poll.h>

namespace fxfarm::net {
namespace {

// A peer's pipe can become writable without a wake of ours, when ZeroMQ learns of it during a call for another peer.
constexpr std::chrono::milliseconds blocked_retry{5};
// From the end of a connection, or from what has been read of it since, until the socket refuses to send there.
constexpr std::chrono::milliseconds ended_settles{20};

struct command {
  enum class kind : std::uint8_t { send, drop, recheck, ended, stop };
  kind what = kind::stop;
  peer_id peer;
  bytes encoded;
  blob attachment;
  std::string text;  // the attachment's digest, or the reason of a drop
};

}  // namespace

class router::loop {
public:
  loop(router_options options, inbound_sink sink)
      : options_(std::move(options)),
        socket_(context_, zmq::socket_type::router),
        told_(std::move(sink), options_.link.batch_max) {
    set_bounds(socket_, options_.link);
    socket_.set(zmq::sockopt::router_mandatory, true);
    gate_ = std::make_unique<gatekeeper>(context_, options_.accept ? &*options_.accept : nullptr, counters, [this] {
      push({command::kind::ended, {}, {}, nullptr, {}});
    });
    gate_->guard(socket_);
  }

  result<void> bind() {
    if (outbox_.fd() < 0) return {errc::io, "eventfd: the system gives no more"};
    for (const auto& endpoint : options_.endpoints) {
      auto bound = listen_on(socket_, endpoint);
      if (!bound) return bound.failure();
      endpoints.push_back(*std::move(bound));
    }
    return {};
  }

  void start() {
    gate_->start();
    thread_ = std::thread([this] { run(); });
  }

  void stop(clock::duration finish) {
    if (!thread_.joinable()) return;
    finish_ = finish;
    push({command::kind::stop, {}, {}, nullptr, {}});
    thread_.join();
  }

  void push(command what) { outbox_.push(std::move(what)); }
  void hold() { outbox_.hold(); }
  void let_go() { outbox_.let_go(); }
  void push_message(command what) { outbox_.push_message(std::move(what), &command::peer); }

  attachment_digests digests;
  link_counters counters;
  std::vector<std::string> endpoints;

private:
  using peer = router_peer;

  void run() {
    block_signals();
    while (!over()) {
      now_ = clock::now();
      take_commands();
      receive();
      fire_timers();
      flush(std::exchange(ready_, {}));
      told_.hand_over();
      if (!over()) wait();
    }
    for (const auto& [routing, p] : peers_.by_routing()) write(routing, {encode(goodbye{"the coordinator stops"})});
    let_linger(socket_);
    socket_.close();
    gate_.reset();
    context_.close();
  }

  // Sleeps until a message, a command or the next timer.
  void wait() {
    const bool more = readable(socket_);
    // Also when others keep us busy: their pipes may have room by now.
    const bool blocked = !blocked_.empty();
    ready_.merge(blocked_);
    if (more) return;
    auto until = peers_.next_deadline();
    const auto no_later_than = [&](time_point then) { until = std::min(until.value_or(then), then); };
    if (stop_at_) no_later_than(*stop_at_);
    if (!ended_.empty()) no_later_than(ended_.front().first);
    if (blocked) no_later_than(now_ + blocked_retry);
    std::array<pollfd, 2> fds{pollfd{socket_.get(zmq::sockopt::fd), POLLIN, 0}, pollfd{outbox_.fd(), POLLIN, 0}};
    ::poll(fds.data(), fds.size(), poll_timeout(until, clock::now()));
  }

  bool over() const { return stop_at_ && (now_ >= *stop_at_ || !unsent()); }
  bool unsent() const {
    const auto& all = peers_.by_routing();
    return std::any_of(all.begin(), all.end(), [](const auto& p) { return p.second->link.unsent(); });
  }

  void take_commands() {
    outbox_.take(commands_, overrun_);
    for (const auto& id : overrun_) {
      if (auto* p = peers_.with_id(id)) overrun(*p);
    }
    for (auto& c : commands_) {
      if (c.what == command::kind::stop) stop_at_ = now_ + finish_;
      if (c.what == command::kind::recheck) recheck();
      if (c.what == command::kind::ended) {
        for (const auto descriptor : gate_->take_ended()) note_ended(descriptor);
      }
      auto* p = peers_.with_id(c.peer);
      if (p == nullptr) continue;
      if (c.what == command::kind::drop) {
        flush({p});
        // The flush may have found it gone.
        if (peers_.with_id(c.peer) != nullptr) remove(*p, {errc::refused, c.text}, goodbye{c.text});
      } else {
        push(*p, std::move(c.encoded), std::move(c.attachment), std::move(c.text));
      }
    }
    commands_.clear();
  }

  void note_ended(int descriptor) {
    if (const auto* p = peers_.with_descriptor(descriptor)) ended_.emplace_back(now_ + ended_settles, p->id);
  }

  // Whose connection has ended cannot be sent to; another one may have got its descriptor, and hears us once more. What
  // it has sent is read first.
  void try_ended() {
    while (!ended_.empty() && ended_.front().first <= now_) {
      auto* p = peers_.with_id(ended_.front().second);
      ended_.pop_front();
      if (p == nullptr) continue;
      if (now_ - p->link.heard() < ended_settles) {
        ended_.emplace_back(now_ + ended_settles, p->id);
      } else {
        push(*p, encode(heartbeat{}));
      }
    }
  }

  void overrun(peer& p) {
    const error why{errc::busy, "too many messages wait to be sent"};
    reject(p.routing, why);
    remove(p, why);
  }

  void push(peer& p, bytes encoded, blob attachment = nullptr, std::string digest = {}) {
    auto queued = p.link.push(std::move(encoded), std::move(attachment), std::move(digest));
    if (queued) {
      if (!blocked_.contains(&p)) ready_.insert(&p);
    } else {
      reject(p.routing, queued.failure());
      remove(p, queued.failure());
    }
  }

  void receive() {
    received in;
    for (std::size_t n = 0; n < options_.link.batch_max; ++n) {
      if (!receive_parts(socket_, in)) return;
      hear(in);
    }
  }

  void hear(received& in) {
    const std::string routing(text_of(view_of(in.parts[0])));
    const auto frame = in.count > 1 ? view_of(in.parts[1]) : byte_view();
    link_counters::add(counters.messages_in);
    link_counters::add(counters.bytes_in, frame.size());
    const auto key = options_.accept ? key_of(in.parts[in.count > 1 ? 1 : 0]) : std::string();
    auto* from = peers_.with_routing(routing);
    // A connection chooses its name, and may choose one that has been another's.
    if (from != nullptr && from->key != key) {
      remove(*from, {errc::unreachable, "another peer has come in its place"});
      from = nullptr;
    }
    const auto share = quotas_.take(from != nullptr ? *from->account : account_of(routing, key), now_);
    if (share == peer_quotas::share::far_over) return shut_out(routing, from);
    auto came = in.count == 2 ? decode(frame) : error{errc::protocol, "message: expected one frame"};
    if (!came) {
      reject(routing, came.failure());
      if (from != nullptr) remove(*from, came.failure());
    } else if (const auto* who = std::get_if<hello>(&came->content)) {
      if (share == peer_quotas::share::over) return shut_out(routing, from, true);
      greet(routing, *who, key, descriptor_of(in.parts[1]));
    } else if (from != nullptr) {
      const auto fate = share == peer_quotas::share::over ? fate_over_quota(*came) : over_quota::taken;
      if (fate != over_quota::taken) tell_quota_passed("messages");
      if (fate != over_quota::unheard) take(*from, std::move(*came), fate == over_quota::answered);
    } else if (!std::holds_alternative<goodbye>(came->content) && !std::holds_alternative<rejected>(came->content)) {
      reject(routing, {errc::protocol, "the first message must be hello"});
    }
  }

  peer_quotas::account& account_of(const std::string& routing, const std::string& key) {
    return quotas_.of(options_.accept ? key : routing, now_);
  }
  void tell_quota_passed(std::string_view what) const {
    if (options_.quota_passed) options_.quota_passed(what);
  }

  // Its key has sent so much that this message was not looked at. Strangers are told only if they have asked: an answer
  // to each of their messages is what they would like.
  void shut_out(const std::string& routing, peer* from, bool asked = false) {
    tell_quota_passed("messages");
    if (from == nullptr && !asked) return;
    const error why{errc::busy, "the peers of this key send more than " +
                                    std::to_string(quotas_.bounds().messages_per_second) + " messages in a second"};
    reject(routing, why);
    if (from != nullptr) remove(*from, why);
  }

  void greet(const std::string& routing, const hello& who, const std::string& key, int descriptor) {
    if (auto fine = check_hello(who); !fine) {
      reject(routing, fine.failure());
      if (auto* before = peers_.with_routing(routing)) remove(*before, fine.failure());
      return;
    }
    key_right right;
    if (options_.accept) {
      const auto keys = options_.accept->keys();
      const auto admitted = admit(*keys, key, who.role);
      if (admitted.right == nullptr) return turn_away(routing, admitted);
      right = *admitted.right;
    }
    const auto name = options_.accept ? key + "/" + who.id : who.id;
    const error replaced{errc::unreachable, "replaced by a newer connection of the same peer"};
    if (auto* before = peers_.with_routing(routing)) remove(*before, replaced);
    if (auto* before = peers_.with_name(name)) remove(*before, replaced, goodbye{replaced.message});
    if (peers_.size() >= options_.peers_max) {
      reject(routing, {errc::busy, "no more than " + std::to_string(options_.peers_max) + " peers"});
      return;
    }
    auto& account = account_of(routing, key);
    if (!quotas_.join(account)) {
      tell_quota_passed("connections");
      const auto most = std::to_string(quotas_.bounds().connections);
      return reject(routing, {errc::busy, "no more than " + most + " peers of one key"});
    }
    note_ended(descriptor);  // of one that had it before
    auto& p = peers_.add({routing, who.id + "#" + std::to_string(++connections_), name, key, right,
                          session(side::bound, options_.link, counters, now_), descriptor, &account});
    const auto scope = p.right.scope();
    p.link.adopt_enclosed(who.enclosed_bytes);
    link_counters::add(counters.peers_up);
    const auto period = std::chrono::duration_cast<std::chrono::milliseconds>(options_.link.heartbeat_period);
    told_.tell(p.id, peer_up{who, key, std::move(right)});
    push(p, encode(welcome{wire_version, options_.id, options_.build, static_cast<std::uint64_t>(period.count()),
                           options_.link.enclosed_bytes_max, scope}));
  }

  void turn_away(const std::string& routing, const admission& refused) {
    link_counters::add(counters.refused_for(refused.reason));
    reject(routing, refused.why);
    if (auto* before = peers_.with_routing(routing)) remove(*before, refused.why);
  }

  // Other keys are in force: who came in by what is no longer so has to come in again, or not at all.
  void recheck() {
    if (!options_.accept) return;
    const auto keys = options_.accept->keys();
    std::vector<peer*> changed;
    for (const auto& [routing, p] : peers_.by_routing()) {
      const auto* right = keys->find(p->key, p->right.role);
      if (right == nullptr || !right->gives_the_same_as(p->right)) changed.push_back(p.get());
    }
    for (auto* p : changed) {
      const auto admitted = admit(*keys, p->key, p->right.role);
      if (admitted.right == nullptr) {
        turn_away(std::string(p->routing), admitted);
      } else {
        const error why{errc::unreachable, "the rights of its key have changed"};
        remove(*p, why, goodbye{why.message});
      }
    }
  }

  void take(peer& p, envelope&& came, bool over_quota) {
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

  void fire_timers() {
    try_ended();
    while (auto* p = peers_.due(now_)) {
      if (auto alive = p->link.tick(now_); alive) {
        peers_.rearm(*p);
        ready_.insert(p);
      } else {
        reject(p->routing, alive.failure());
        remove(*p, alive.failure());
      }
    }
  }

  void flush(const std::unordered_set<peer*>& some) {
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

  session::write_result write(const std::string& routing, const frame& what) {
    const auto routed = send_routing(socket_, routing);
    return routed == session::write_result::written ? send_frame(socket_, what) : routed;
  }

  // Tells the peer why; whether it can still be told does not matter, it is not one of ours (any longer).
  void reject(const std::string& routing, const error& why) {
    link_counters::add(counters.rejected_for(why.code));
    write(routing, {encode(rejected{std::string(to_string(why.code)), why.message})});
  }

  void remove(peer& p, const error& why, const std::optional<message>& last_words = std::nullopt) {
    if (last_words) write(p.routing, {encode(*last_words)});
    told_.tell(p.id, peer_down{why});
    link_counters::take(counters.peers_up);
    ready_.erase(&p);
    blocked_.erase(&p);
    quotas_.leave(*p.account);
    peers_.remove(p);
  }

  router_options options_;
  outbox<command> outbox_{options_.link.outbox_max};
  zmq::context_t context_{1};
  std::unique_ptr<gatekeeper> gate_;
  zmq::socket_t socket_;
  std::thread thread_;

  clock::duration finish_{0};  // written once, before the command to stop
  // From here on only the thread's own.
  std::optional<time_point> stop_at_;
  time_point now_;
  std::uint64_t connections_ = 0;
  std::vector<command> commands_;
  std::set<std::string> overrun_;
  told told_;
  router_peers peers_;
  std::deque<std::pair<time_point, peer_id>> ended_;  // their connections, and when to try them
  peer_quotas quotas_{options_.quotas};
  std::unordered_set<peer*> ready_;    // something may be to be sent
  std::unordered_set<peer*> blocked_;  // their pipes are full
};

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
  loop_->push_message({command::kind::send, to, std::move(encoded), std::move(attachment), std::move(digest)});
}

void router::hold() {
  loop_->hold();
}

void router::let_go() {
  loop_->let_go();
}

void router::drop(const peer_id& to, std::string reason) {
  loop_->push({command::kind::drop, to, {}, nullptr, std::move(reason)});
}

void router::recheck() {
  loop_->push({command::kind::recheck, {}, {}, nullptr, {}});
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
