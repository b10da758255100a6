// Who is heard: what comes first from whom, under which key, and how much of it.
#include "net/over_quota.hpp"
#include "net/router_loop.hpp"

namespace fxfarm::net {

void router::loop::hear(received& in) {
  const std::string routing(text_of(view_of(in.parts[0])));
  const auto frame = in.count > 1 ? view_of(in.parts[1]) : byte_view();
  link_counters::add(counters.messages_in);
  link_counters::add(counters.bytes_in, frame.size());
  told_.came(frame.size());
  const auto& last = in.parts[in.count > 1 ? 1 : 0];
  const auto key = options_.accept ? key_of(last) : std::string();
  const auto by = [&last] { return arrival{descriptor_of(last), ticket_of(last)}; };
  auto* from = peers_.with_routing(routing);
  // A connection chooses its name, and may choose one that has been another's.
  if (from != nullptr && from->key != key) {
    remove(*from, {errc::unreachable, "another peer has come in its place"});
    from = nullptr;
  }
  auto share = quotas_.take(from != nullptr ? *from->account : account_of(routing, key), now_);
  if (share == peer_quotas::share::far_over && from != nullptr && quotas_.take_own(from->own, now_)) {
    share = peer_quotas::share::over;
  }
  // Who comes is heard however much others of its key have said: it has shaken hands for it, and connections have a
  // bound of their own. So of many that come at once none has to come again.
  if (share != peer_quotas::share::within && from == nullptr && is_first(by())) {
    share = peer_quotas::share::within;
  }
  if (share == peer_quotas::share::far_over) return shut_out(routing, from);
  auto came = in.count == 2 ? decode(frame) : error{errc::protocol, "message: expected one frame"};
  if (!came) {
    reject(routing, came.failure());
    if (from != nullptr) remove(*from, came.failure());
  } else if (const auto* who = std::get_if<hello>(&came->content)) {
    if (share == peer_quotas::share::over) return shut_out(routing, from, true);
    greet(routing, *who, key, by());
  } else if (from != nullptr) {
    const auto fate = share == peer_quotas::share::over ? fate_over_quota(*came) : over_quota::taken;
    if (fate != over_quota::taken) tell_quota_passed("messages");
    if (fate != over_quota::unheard) take(*from, std::move(*came), fate == over_quota::answered);
  } else if (!std::holds_alternative<goodbye>(came->content) && !std::holds_alternative<rejected>(came->content)) {
    reject(routing, {errc::protocol, "the first message must be hello"});
  }
}

bool router::loop::is_first(arrival by) {
  return gate_->heard(by.descriptor, by.ticket);
}

peer_quotas::account& router::loop::account_of(const std::string& routing, const std::string& key) {
  return quotas_.of(options_.accept ? key : routing, now_);
}

void router::loop::tell_quota_passed(std::string_view what) const {
  if (options_.quota_passed) options_.quota_passed(what);
}

void router::loop::shut_out(const std::string& routing, router_peer* from, bool asked) {
  tell_quota_passed("messages");
  if (from == nullptr && !asked) return;
  const error why{errc::busy, "the peers of this key send more than " +
                                  std::to_string(quotas_.bounds().messages_per_second) + " messages in a second"};
  reject(routing, why);
  if (from != nullptr) remove(*from, why);
}

void router::loop::greet(const std::string& routing, const hello& who, const std::string& key, arrival by) {
  gate_->heard(by.descriptor, by.ticket);
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
  if (auto* before = peers_.with_name(name)) {
    const arrival then{before->descriptor, before->ticket};
    remove(*before, replaced, goodbye{replaced.message});
    gate_->replaced(then.descriptor, then.ticket);
  }
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
  unsaid_.erase(routing);     // it is one of ours again
  note_ended(by.descriptor);  // of one that had it before
  gate_->joined(by.descriptor, by.ticket);
  auto& p = peers_.add({routing, who.id + "#" + std::to_string(++connections_), name, key, right,
                        session(side::bound, options_.link, counters, now_), by.descriptor, by.ticket,
                        quotas_.peers_own(now_), &account});
  const auto scope = p.right.scope();
  p.link.adopt_enclosed(who.enclosed_bytes);
  link_counters::add(counters.peers_up);
  const auto period = std::chrono::duration_cast<std::chrono::milliseconds>(options_.link.heartbeat_period);
  told_.tell(p.id, peer_up{who, key, std::move(right)});
  push(p, encode(welcome{wire_version, options_.id, options_.build, static_cast<std::uint64_t>(period.count()),
                         options_.link.enclosed_bytes_max, scope}));
}

void router::loop::turn_away(const std::string& routing, const admission& refused) {
  link_counters::add(counters.refused_for(refused.reason));
  reject(routing, refused.why);
  if (auto* before = peers_.with_routing(routing)) remove(*before, refused.why);
}

void router::loop::recheck() {
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

}  // namespace fxfarm::net
