#include "runtime/redis_client.hpp"

#include "runtime/limits.hpp"
#include "runtime/redis_slot.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace fxfarm {
namespace {

using replies = std::vector<redis_reply>;

std::string first_word(const std::string& text) {
  return text.substr(0, text.find(' '));
}

// A failure that the server told, as an error of ours. Only its first word tells anything: the rest may repeat what was
// sent.
error from_server(const redis_reply& failure) {
  const auto word = first_word(failure.text);
  constexpr std::array<std::string_view, 3> no_room{"OOM", "MISCONF", "NOREPLICAS"};
  constexpr std::array<std::string_view, 6> not_ready{"LOADING",  "MASTERDOWN", "CLUSTERDOWN",
                                                      "TRYAGAIN", "READONLY",   "BUSY"};
  const auto is_in = [&](const auto& words) { return std::find(words.begin(), words.end(), word) != words.end(); };
  if (is_in(no_room)) return {errc::busy, "the server has no room: " + word};
  if (is_in(not_ready)) return {errc::unreachable, "the server is not ready: " + word};
  if (word == "MOVED" || word == "ASK") {
    return {errc::refused, "the server is a node of a cluster: write redis+cluster:// in the URL"};
  }
  if (word == "NOAUTH") {
    return {errc::refused, "the server wants a password: set redis_password_file, or put it into the URL"};
  }
  if (word == "WRONGPASS") {
    return {errc::refused, "the server refuses the password of redis_password_file or of the URL"};
  }
  return {errc::refused, "the server refused a command: " + word};
}

// An equal share of the time left for each of those that are still to be tried: one that hangs must not take it all.
redis_port::time_point share_of(redis_port::time_point until, std::size_t left) {
  const auto now = std::chrono::steady_clock::now();
  return now + (until - now) / static_cast<std::ptrdiff_t>(left);
}

// The node that "MOVED SLOT HOST:PORT" or "ASK SLOT HOST:PORT" names; without a host it is on `here`'s.
std::optional<redis_address> redirected(const std::string& text, const redis_address& here) {
  const auto colon = text.rfind(':');
  const auto space = text.rfind(' ');
  if (colon == std::string::npos || space == std::string::npos || colon < space) return std::nullopt;
  redis_address to{text.substr(space + 1, colon - space - 1), 0};
  if (to.host.empty()) to.host = here.host;
  auto [end, failure] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), to.port);
  // A host that starts with / would be a file of ours.
  if (failure != std::errc{} || to.port == 0 || to.is_socket()) return std::nullopt;
  return to;
}

}  // namespace

redis_client::redis_client(redis_client_options options) : options_(std::move(options)) {}

result<replies> redis_client::run(const std::string& key, const std::vector<redis_command>& commands,
                                  time_point until) {
  until = std::min(until, std::chrono::steady_clock::now() + options_.timeout);
  const bool of_cluster = options_.target.kind == redis_kind::cluster;
  auto node = route(key, until);
  for (unsigned i = 0; node && i <= limits::redis_redirections_max; ++i) {
    auto got = run_at(*node, commands, until);
    if (!got) {
      forget(*node);
      return got.failure().with_context(to_string(*node));
    }
    if (of_cluster) {
      if (auto asked = ask_elsewhere(commands, *got, *node, until); !asked) return asked.failure();
    }
    const auto failure =
        std::find_if(got->begin(), got->end(), [](const auto& r) { return r.is == redis_reply::kind::failure; });
    if (failure == got->end()) return got;
    const auto word = first_word(failure->text);
    if (of_cluster && word == "ASK") continue;  // moved on meanwhile
    const auto to = word == "MOVED" ? redirected(failure->text, *node) : std::nullopt;
    if (of_cluster && to) {
      slots_.clear();  // more than this slot may have moved
      node = *to;
      continue;
    }
    if (word == "READONLY") forget(*node);
    return from_server(*failure).with_context(to_string(*node));
  }
  if (!node) return node.failure();
  return {errc::unreachable, "the nodes of the cluster send us from one to another"};
}

// While a slot moves, each of its keys is at either node, and an answer "ASK" tells of one that is at the other. Of a
// key that has not moved yet the other one would say that there is none.
result<void> redis_client::ask_elsewhere(const std::vector<redis_command>& commands, replies& got,
                                         const redis_address& node, time_point until) {
  std::map<redis_address, std::vector<std::size_t>> moved;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i].is != redis_reply::kind::failure || first_word(got[i].text) != "ASK") continue;
    if (const auto to = redirected(got[i].text, node)) moved[*to].push_back(i);
  }
  for (const auto& [to, which] : moved) {
    std::vector<redis_command> asked;
    for (const auto i : which) {
      asked.push_back({"ASKING"});
      asked.push_back(commands[i]);
    }
    auto answers = run_at(to, asked, until);
    if (!answers) return answers.failure().with_context(to_string(to));
    for (std::size_t i = 0; i < which.size(); ++i) got[which[i]] = std::move((*answers)[2 * i + 1]);
  }
  return {};
}

result<replies> redis_client::run_at(const redis_address& node, const std::vector<redis_command>& commands,
                                     time_point until) {
  while (true) {
    auto to = link_to(node, until);
    auto got = to ? to->connection->run(commands, until) : result<replies>(to.failure());
    if (got) return got;
    // A connection that has been idle may have been cut off long ago.
    const bool again = to && got.failure().code == errc::unreachable && !to->fresh;
    connections_.erase(node);
    if (!again) return got;
  }
}

result<redis_client::link> redis_client::link_to(const redis_address& node, time_point until) {
  if (auto it = connections_.find(node); it != connections_.end()) return link{it->second.get(), false};
  if (connections_.size() >= limits::redis_addresses_max) connections_.clear();
  auto opened = redis_connection::open(node, options_.tls.get(), until);
  if (!opened) return opened.failure();
  if (auto greeted = greet(**opened, until); !greeted) return greeted.failure();
  auto* connection = opened->get();
  connections_[node] = *std::move(opened);
  return link{connection, true};
}

result<void> redis_client::greet(redis_connection& connection, time_point until) const {
  const auto& t = options_.target;
  std::vector<redis_command> commands;
  if (!t.password.empty()) {
    commands.push_back(t.user.empty() ? redis_command{"AUTH", t.password} : redis_command{"AUTH", t.user, t.password});
  }
  if (t.database != 0) commands.push_back({"SELECT", std::to_string(t.database)});
  // Whether we are let in without a password: what comes first might be large, and refused for that alone.
  commands.push_back({"PING"});
  auto got = connection.run(commands, until);
  if (!got) return got.failure();
  for (const auto& reply : *got) {
    if (reply.is == redis_reply::kind::failure) return from_server(reply);
  }
  return {};
}

result<redis_address> redis_client::route(const std::string& key, time_point until) {
  switch (options_.target.kind) {
    case redis_kind::server:
      return options_.target.addresses.front();
    case redis_kind::sentinel:
      if (!master_) {
        auto found = ask_sentinels(until);
        if (!found) return found;
        master_ = *found;
      }
      return *master_;
    case redis_kind::cluster:
      break;
  }
  if (slots_.empty()) {
    if (auto learned = learn_slots(until); !learned) return learned.failure();
  }
  const auto slot = redis_slot(key);
  const auto range = slots_.lower_bound(slot);
  if (range == slots_.end() || range->second.first > slot) {
    slots_.clear();
    return {errc::unreachable, "no node of the cluster has slot " + std::to_string(slot)};
  }
  return range->second.second;
}

// https://redis.io/docs/latest/develop/reference/sentinel-clients/: the first Sentinel that answers is believed;
// whether the server is a master shows when something is written to it.
result<redis_address> redis_client::ask_sentinels(time_point until) {
  error last{errc::unreachable, "no Sentinel is known"};
  auto left = options_.target.addresses.size();
  for (const auto& sentinel : options_.target.addresses) {
    const auto soon = share_of(until, left--);
    auto connection = redis_connection::open(sentinel, options_.tls.get(), soon);
    auto got = connection ? (*connection)->run({{"SENTINEL", "get-master-addr-by-name", options_.target.master}}, soon)
                          : result<replies>(connection.failure());
    if (!got) {
      last = got.failure().with_context("Sentinel " + to_string(sentinel));
      continue;
    }
    const auto& answer = got->front();
    if (answer.items.size() == 2) {
      redis_address master{answer.items[0].text, 0};
      const auto& port = answer.items[1].text;
      auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), master.port);
      if (failure == std::errc{} && !master.host.empty() && !master.is_socket()) return master;
    }
    last = {errc::unreachable, "Sentinel " + to_string(sentinel) + " knows no master " + options_.target.master};
    if (answer.is == redis_reply::kind::failure)
      last = from_server(answer).with_context("Sentinel " + to_string(sentinel));
  }
  return last;
}

// https://redis.io/docs/latest/commands/cluster-slots/
result<void> redis_client::learn_slots(time_point until) {
  error last{errc::unreachable, "no node is known"};
  auto left = options_.target.addresses.size();
  for (const auto& node : options_.target.addresses) {
    auto got = run_at(node, {{"CLUSTER", "SLOTS"}}, share_of(until, left--));
    if (!got) {
      last = got.failure().with_context(to_string(node));
      continue;
    }
    const auto& answer = got->front();
    if (answer.is == redis_reply::kind::failure) {
      last = from_server(answer).with_context(to_string(node));
      continue;
    }
    for (const auto& range : answer.items) {
      if (range.items.size() < 3 || range.items[2].items.size() < 2) continue;
      const auto& master = range.items[2].items;
      redis_address address{master[0].text.empty() ? node.host : master[0].text,
                            static_cast<std::uint16_t>(master[1].number)};
      if (address.is_socket() || slots_.size() >= redis_slots) continue;
      slots_[static_cast<std::uint16_t>(range.items[1].number)] = {static_cast<std::uint16_t>(range.items[0].number),
                                                                   std::move(address)};
    }
    if (!slots_.empty()) return {};
    last = {errc::unreachable, to_string(node) + " has no slots: is it part of a cluster?"};
  }
  return last;
}

void redis_client::forget(const redis_address& node) {
  connections_.erase(node);
  master_.reset();
  slots_.clear();
}

}  // namespace fxfarm
