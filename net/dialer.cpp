#include "net/dialer.hpp"

#include "net/attachment_digests.hpp"
#include "net/connection.hpp"
#include "net/outbox.hpp"
#include "net/sockets.hpp"
#include "net/told.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <thread>

namespace fxfarm::net {
namespace {

struct command {
  enum class kind : std::uint8_t { send, drop, connect, disconnect, stop };
  kind what = kind::stop;
  std::string endpoint;
  bytes encoded;
  blob attachment;
  std::string text;  // the attachment's digest, or the reason of a drop
};

struct link {
  std::unique_ptr<connection> line;     // null: waits for `next`
  std::optional<session> talk;          // after the handshake
  time_point next = time_point::min();  // when to try again, or when the handshake must be done
  unsigned failures = 0;                // attempts in a row
  std::size_t server_key = 0;           // which of the coordinator's keys is expected
  std::size_t keys_failed = 0;          // in a row
  bool key_answered = false;            // the coordinator has had that key, and has not broken off since
  bool tried = false;
  bool told_down = false;
  bool blocked = false;               // the socket takes no more
  std::optional<time_point> closing;  // the connection has ended; until then its last messages may still come
};

// ZeroMQ tells of the end before it hands over what it read last, which may be the reason.
constexpr std::chrono::milliseconds last_words_max{20};

}  // namespace

class dialer::loop {
public:
  loop(dialer_options options, inbound_sink sink)
      : options_(std::move(options)), jitter_(std::random_device{}()), told_(std::move(sink), options_.link.batch_max) {
    options_.self.enclosed_bytes = options_.link.enclosed_bytes_max;
  }

  result<void> start() {
    if (outbox_.fd() < 0) return {errc::io, "eventfd: the system gives no more"};
    thread_ = std::thread([this] { run(); });
    return {};
  }

  void stop(clock::duration finish) {
    if (!thread_.joinable()) return;
    finish_ = finish;
    push({command::kind::stop, {}, {}, nullptr, {}});
    thread_.join();
  }

  void push(command what) { outbox_.push(std::move(what)); }
  void push_message(command what) { outbox_.push_message(std::move(what), &command::endpoint); }

  attachment_digests digests;
  link_counters counters;

private:
  enum class retry : std::uint8_t { soon, late };

  void run() {
    block_signals();
    while (!over()) {
      now_ = clock::now();
      take_commands();
      for (auto& [endpoint, l] : links_) serve(endpoint, l);
      told_.hand_over();
      if (!over()) wait();
    }
    for (auto& [endpoint, l] : links_) hang_up(l, goodbye{"the peer stops"});
    context_.close();
  }

  void wait() {
    auto until = stop_at_;
    std::vector<zmq::pollitem_t> items{{nullptr, outbox_.fd(), ZMQ_POLLIN, 0}};
    for (auto& [endpoint, l] : links_) {
      const auto due = l.closing ? *l.closing : l.talk ? l.talk->deadline() : l.next;
      until = until ? std::min(*until, due) : due;
      if (!l.line) continue;
      const int wanted = ZMQ_POLLIN | (l.blocked ? ZMQ_POLLOUT : 0);
      items.push_back({l.line->socket.handle(), 0, static_cast<short>(wanted), 0});
      items.push_back({l.line->monitor.handle(), 0, ZMQ_POLLIN, 0});
    }
    // An interrupted poll is one more turn of the loop.
    ::zmq_poll(items.data(), static_cast<int>(items.size()), poll_timeout(until, clock::now()));
  }

  bool over() const { return stop_at_ && (now_ >= *stop_at_ || !unsent()); }
  bool unsent() const {
    return std::any_of(links_.begin(), links_.end(),
                       [](const auto& l) { return l.second.talk && l.second.talk->unsent(); });
  }

  void take_commands() {
    outbox_.take(commands_, overrun_);
    for (const auto& endpoint : overrun_) {
      const auto found = links_.find(endpoint);
      if (found == links_.end() || !found->second.talk) continue;
      refuse(endpoint, found->second, {errc::busy, "too many messages wait to be sent"});
    }
    for (auto& c : commands_) {
      if (c.what == command::kind::stop) stop_at_ = now_ + finish_;
      if (c.what == command::kind::connect) links_.try_emplace(c.endpoint);  // due at once
      const auto found = links_.find(c.endpoint);
      if (found == links_.end()) continue;
      auto& l = found->second;
      if (c.what == command::kind::disconnect) {
        hang_up(l, goodbye{"disconnected"});
        links_.erase(found);
      } else if (c.what == command::kind::drop && l.talk) {
        flush(c.endpoint, l);
        if (l.talk) fail(c.endpoint, l, {errc::refused, c.text}, retry::late, goodbye{c.text});
      } else if (c.what == command::kind::send && l.talk) {
        auto queued = l.talk->push(std::move(c.encoded), std::move(c.attachment), std::move(c.text));
        if (!queued) refuse(c.endpoint, l, queued.failure());
      }
    }
    commands_.clear();
  }

  void serve(const std::string& endpoint, link& l) {
    if (!l.line && now_ >= l.next) dial(endpoint, l);
    if (!l.line) return;
    if (l.line->ended() && !l.closing) l.closing = now_ + last_words_max;
    receive(endpoint, l);
    if (!l.line) return;
    if (l.closing) {
      if (now_ < *l.closing) return;
      if (l.talk) return fail(endpoint, l, {errc::unreachable, "the connection is closed"}, retry::soon);
      if (l.line->refused_in_words()) note_answer(l);
      // Who has no room for one more breaks off, too: a key that has answered is tried once more before the others.
      const bool once_more = l.line->broken_off() && std::exchange(l.key_answered, false);
      if (!once_more && try_next_key(endpoint, l)) return;
      const auto why = l.line->why();
      fail(endpoint, l, why, why.code == errc::refused && !once_more ? retry::late : retry::soon);
    } else if (l.talk) {
      if (auto alive = now_ >= l.talk->deadline() ? l.talk->tick(now_) : result<void>(); !alive) {
        fail(endpoint, l, alive.failure(), retry::soon);
      } else {
        flush(endpoint, l);
      }
    } else if (now_ >= l.next) {
      fail(endpoint, l, {errc::timeout, "no answer to hello"}, retry::soon);
    }
  }

  void dial(const std::string& endpoint, link& l) {
    if (std::exchange(l.tried, true)) link_counters::add(counters.reconnects);
    try {
      const auto* keys = keys_for(endpoint);
      l.line = std::make_unique<connection>(context_, endpoint, options_.link, ++attempts_, keys,
                                            keys ? keys->server_keys.at(l.server_key) : std::string());
    } catch (const zmq::error_t& e) {
      fail(endpoint, l, {errc::io, e.what()}, retry::late);
      return;
    }
    l.next = now_ + options_.link.handshake_timeout;
    l.line->write({encode(options_.self)});
  }

  const presenting* keys_for(const std::string& endpoint) const {
    const bool plain = !options_.keys || options_.keys->plain.contains(endpoint);
    return plain ? nullptr : &*options_.keys;
  }

  // Whether the coordinator may have another of the keys that are accepted: it is then dialed at once. A coordinator
  // never says that it has not the key which was expected, it breaks off.
  bool try_next_key(const std::string& endpoint, link& l) {
    const auto* keys = keys_for(endpoint);
    if (keys == nullptr || !l.line->broken_off()) return false;
    l.server_key = (l.server_key + 1) % keys->server_keys.size();
    if (++l.keys_failed >= keys->server_keys.size()) {
      l.keys_failed = 0;
      return false;
    }
    hang_up(l, std::nullopt);
    l.next = now_;
    return true;
  }

  static void note_answer(link& l) {
    l.keys_failed = 0;
    l.key_answered = true;
  }

  // A batch at a time.
  void receive(const std::string& endpoint, link& l) {
    received in;
    for (std::size_t n = 0; l.line && n < options_.link.batch_max; ++n) {
      if (!receive_parts(l.line->socket, in)) return;
      const auto frame = view_of(in.parts.front());
      link_counters::add(counters.messages_in);
      link_counters::add(counters.bytes_in, frame.size());
      auto came = in.count == 1 ? decode(frame) : error{errc::protocol, "message: expected one frame"};
      if (!came) {
        refuse(endpoint, l, came.failure());
      } else if (l.talk) {
        take(endpoint, l, std::move(*came));
      } else {
        shake_hands(endpoint, l, came->content);
      }
    }
  }

  void shake_hands(const std::string& endpoint, link& l, const message& answer) {
    note_answer(l);
    if (const auto* no = std::get_if<rejected>(&answer)) {
      fail(endpoint, l, {errc_from_string(no->code), "rejected by the peer: " + no->reason}, retry::late);
      return;
    }
    const auto* yes = std::get_if<welcome>(&answer);
    if (yes == nullptr) {
      refuse(endpoint, l, {errc::protocol, std::string(tag_of(answer)) + ": expected welcome"});
      return;
    }
    if (yes->version != wire_version) {
      refuse(endpoint, l,
             {errc::protocol, "welcome.version: " + std::to_string(yes->version) + ", this side speaks " +
                                  std::to_string(wire_version)});
      return;
    }
    l.talk.emplace(side::connected, options_.link, counters, now_);
    l.talk->adopt_enclosed(yes->enclosed_bytes);
    if (yes->heartbeat_ms > 0) l.talk->adopt_heartbeat(std::chrono::milliseconds(yes->heartbeat_ms));
    l.failures = 0;
    l.told_down = false;
    link_counters::add(counters.peers_up);
    hello peer;
    peer.role = "coordinator";
    peer.id = yes->id;
    peer.build = yes->build;
    peer_up up{std::move(peer)};
    up.right.space = yes->scope;
    up.right.isolated = !yes->scope.empty();
    told_.tell(endpoint, std::move(up));
  }

  void take(const std::string& endpoint, link& l, envelope&& came) {
    auto got = l.talk->receive(std::move(came), now_);
    switch (got.what) {
      case session::verdict::nothing:
        break;
      case session::verdict::deliver:
        told_.tell(endpoint, std::move(got.content), std::move(got.attachment), std::move(got.digest));
        break;
      case session::verdict::left:
        fail(endpoint, l, got.why, got.why.code == errc::shutdown ? retry::soon : retry::late);
        break;
      case session::verdict::broke_rules:
        refuse(endpoint, l, got.why);
        break;
    }
  }

  void flush(const std::string& endpoint, link& l) {
    const auto put = [&](const frame& what) { return l.line->write(what); };
    const auto outcome = l.talk->flush(put, now_);
    l.blocked = outcome == session::write_result::full;
    if (outcome == session::write_result::gone) {
      fail(endpoint, l, {errc::unreachable, "the connection is closed"}, retry::soon);
    }
  }

  // The peer broke the rules, or is too slow for its bounds: tells it why.
  void refuse(const std::string& endpoint, link& l, const error& why) {
    link_counters::add(counters.rejected_for(why.code));
    fail(endpoint, l, why, retry::late, rejected{std::string(to_string(why.code)), why.message});
  }

  void fail(const std::string& endpoint, link& l, const error& why, retry when,
            const std::optional<message>& last_words = std::nullopt) {
    hang_up(l, last_words);
    l.next = now_ + delay(l.failures++, when);
    if (!std::exchange(l.told_down, true)) told_.tell(endpoint, peer_down{why.with_context(endpoint)});
  }

  void hang_up(link& l, const std::optional<message>& last_words) {
    if (l.talk) link_counters::take(counters.peers_up);
    if (l.line && l.talk && last_words) {
      l.line->write({encode(*last_words)});
      let_linger(l.line->socket);
    }
    l.talk.reset();
    l.line.reset();
    l.blocked = false;
    l.closing.reset();
  }

  // Doubles with each failure; the jitter keeps a thousand peers of a restarted coordinator apart.
  clock::duration delay(unsigned failures, retry when) {
    auto full = options_.reconnect_delay_max;
    if (when == retry::soon) {
      full = options_.reconnect_delay_min;
      while (failures-- > 0 && full < options_.reconnect_delay_max) full *= 2;
      full = std::min(full, options_.reconnect_delay_max);
    }
    std::uniform_real_distribution<double> part(0.5, 1.0);
    return std::chrono::duration_cast<clock::duration>(full * part(jitter_));
  }

  dialer_options options_;
  outbox<command> outbox_{options_.link.outbox_max};
  zmq::context_t context_{1};
  std::thread thread_;

  clock::duration finish_{0};  // written once, before the command to stop
  // From here on only the thread's own.
  std::optional<time_point> stop_at_;
  time_point now_;
  std::uint64_t attempts_ = 0;
  std::minstd_rand jitter_;
  std::vector<command> commands_;
  std::set<std::string> overrun_;
  told told_;
  std::map<std::string, link> links_;
};

result<std::unique_ptr<dialer>> dialer::start(dialer_options options, inbound_sink sink) {
  try {
    auto running = std::make_unique<loop>(std::move(options), std::move(sink));
    if (auto started = running->start(); !started) return started.failure();
    return std::unique_ptr<dialer>(new dialer(std::move(running)));
  } catch (const zmq::error_t& e) {
    return {errc::io, std::string("dialer: ") + e.what()};
  } catch (const std::system_error& e) {
    return {errc::io, std::string("dialer: ") + e.what()};
  }
}

dialer::dialer(std::unique_ptr<loop> running) : loop_(std::move(running)) {}

dialer::~dialer() {
  stop();
}

void dialer::connect(std::string endpoint) {
  loop_->push({command::kind::connect, std::move(endpoint), {}, nullptr, {}});
}

void dialer::disconnect(std::string endpoint) {
  loop_->push({command::kind::disconnect, std::move(endpoint), {}, nullptr, {}});
}

void dialer::send(const peer_id& to, message what, blob attachment) {
  auto encoded = encode(what, room_to_enclose(attachment));
  auto digest = loop_->digests.of(attachment);
  loop_->push_message({command::kind::send, to, std::move(encoded), std::move(attachment), std::move(digest)});
}

void dialer::drop(const peer_id& to, std::string reason) {
  loop_->push({command::kind::drop, to, {}, nullptr, std::move(reason)});
}

void dialer::stop(std::chrono::milliseconds finish) {
  loop_->stop(finish);
}

const link_counters& dialer::counters() const {
  return loop_->counters;
}

}  // namespace fxfarm::net
