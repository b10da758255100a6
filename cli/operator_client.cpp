#include "cli/operator_client.hpp"

#include <utility>
#include <variant>

namespace fxfarm::cli {
namespace {

constexpr std::uint64_t only_request = 1;

}  // namespace

void operator_client::receive(net::inbound_batch batch) {
  std::lock_guard guard(mutex_);
  for (auto& in : batch) {
    if (std::holds_alternative<net::peer_up>(in.event)) {
      up_ = true;
      lost_.reset();
    } else if (auto* down = std::get_if<net::peer_down>(&in.event)) {
      up_ = false;
      lost_ = std::move(down->why);
    } else if (auto* answered = std::get_if<net::answer>(&std::get<net::message>(in.event))) {
      if (answered->request == only_request) answer_ = std::move(*answered);
    }
  }
  changed_.notify_all();
}

result<std::string> operator_client::ask(net::outbound& link, question q, std::chrono::milliseconds within) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline, [&] { return up_ || lost_; })) {
    return failed(errc::unreachable, "no coordinator answers there");
  }
  if (lost_) return failed(errc::unreachable, lost_->message);

  lock.unlock();
  link.send(endpoint_, net::ask{only_request, q.what, std::move(q.arguments)});
  lock.lock();
  if (!changed_.wait_until(lock, deadline, [&] { return answer_ || lost_; })) {
    return failed(errc::timeout, "no answer to \"" + q.what + "\"");
  }
  if (!answer_) return failed(errc::unreachable, lost_->message);
  if (answer_->code != to_string(errc::none)) return failed(errc_from_string(answer_->code), answer_->reason);
  return std::move(answer_->document);
}

}  // namespace fxfarm::cli
