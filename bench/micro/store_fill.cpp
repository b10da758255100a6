#include "link_bench.hpp"
#include "net/dialer.hpp"
#include "runtime/digest.hpp"

#include <future>
#include <stdexcept>
#include <utility>

namespace fxfarm::bench {
namespace {

constexpr std::chrono::seconds fill_max{60};
constexpr std::size_t graph_bytes = 10'000;
constexpr unsigned slots = 8;

net::dialer_options options_of(const std::string& role) {
  net::dialer_options out;
  out.self.role = role;
  out.self.id = "bench-" + role;
  out.self.host = "bench";
  return out;
}

std::unique_ptr<net::dialer> started(const std::string& role, net::inbound_sink sink) {
  auto made = net::dialer::start(options_of(role), std::move(sink));
  if (!made) throw std::runtime_error(to_string(made.failure()));
  return std::move(*made);
}

// A worker whose jobs are done as soon as they come, and the client that wants them.
class filling {
public:
  filling(std::string endpoint, std::size_t graphs, std::size_t artifact_bytes)
      : endpoint_(std::move(endpoint)), graphs_(graphs), artifact_bytes_(artifact_bytes) {
    for (std::size_t n = 0; n < graphs; ++n) numbers_.emplace(lookup_of(n).graph_key, n);
    worker_ = started("worker", [this](const net::inbound_batch& batch) {
      for (const auto& in : batch) work(in);
    });
    client_ = started("client", [this](const net::inbound_batch& batch) {
      for (const auto& in : batch) want(in);
    });
  }

  void run() {
    worker_->connect(endpoint_);
    wait(worker_up_, "no coordinator answers");
    client_->connect(endpoint_);
    wait(filled_, "not every artifact came");
  }

private:
  static void wait(std::promise<void>& what, const char* otherwise) {
    auto done = what.get_future();
    if (done.wait_for(fill_max) != std::future_status::ready) throw std::runtime_error(otherwise);
    done.get();
  }

  void work(const net::inbound& in) {
    if (std::holds_alternative<net::peer_up>(in.event)) {
      net::worker_offer offer;
      offer.name = "bench";
      offer.runs_on = lookup_of(0).target;
      offer.slots = slots;
      worker_->send(in.peer, std::move(offer));
      worker_up_.set_value();
    } else if (const auto* what = std::get_if<net::message>(&in.event)) {
      if (const auto* job = std::get_if<net::job>(what)) {
        auto artifact = make_blob(artifact_of(numbers_.at(job->graph_key), artifact_bytes_));
        worker_->send(in.peer, net::job_done{job->id, job->stage_key, {{"compile", 1.5}, {"pack", 0.1}}}, artifact);
      }
    }
  }

  void want(const net::inbound& in) {
    if (std::holds_alternative<net::peer_up>(in.event)) {
      for (std::size_t n = 0; n < graphs_; ++n) client_->send(in.peer, lookup_of(n));
      return;
    }
    const auto* what = std::get_if<net::message>(&in.event);
    if (what == nullptr) return;
    if (const auto* wanted = std::get_if<net::need_graph>(what)) {
      client_->send(in.peer, net::submit{wanted->graph_key}, make_blob(bytes(graph_bytes)));
    } else if (const auto* failed = std::get_if<net::stage_failed>(what)) {
      if (!std::exchange(failed_, true)) {
        filled_.set_exception(std::make_exception_ptr(std::runtime_error(failed->reason)));
      }
    } else if (std::holds_alternative<net::stage_ready>(*what) && ++ready_ == graphs_ && !failed_) {
      filled_.set_value();
    }
  }

  std::string endpoint_;
  std::size_t graphs_;
  std::size_t artifact_bytes_;
  std::map<std::string, std::size_t> numbers_;  // by graph key
  std::promise<void> worker_up_;
  std::promise<void> filled_;
  std::size_t ready_ = 0;
  bool failed_ = false;
  // Last: their threads use what stands above.
  std::unique_ptr<net::dialer> worker_;
  std::unique_ptr<net::dialer> client_;
};

}  // namespace

net::lookup lookup_of(std::size_t number) {
  net::lookup out;
  out.graph_key = digest_hex(view_of("graph " + std::to_string(number)));
  out.name = "GPT2LMHeadModel.forward/" + std::to_string(number);
  out.stages = {{"default", {{"max_autotune", "false"}}}};
  out.target.torch = "2.13.0+cpu";
  out.target.python = "3.11";
  out.target.threads = 8;
  out.space = "bench";
  out.graph_bytes = graph_bytes;
  return out;
}

bytes artifact_of(std::size_t number, std::size_t size) {
  bytes out(size);
  auto state = static_cast<std::uint32_t>(number + 1);
  for (auto& b : out) {
    state = state * 1664525U + 1013904223U;
    b = static_cast<std::byte>(state >> 24);
  }
  return out;
}

void fill_store(const std::string& endpoint, std::size_t graphs, std::size_t artifact_bytes) {
  filling(endpoint, graphs, artifact_bytes).run();
}

}  // namespace fxfarm::bench
