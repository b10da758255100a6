// Kernels of this worker's jobs that engines elsewhere compile.

#include "actors/worker.hpp"
#include "monitoring/log.hpp"
#include "runtime/digest.hpp"
#include "runtime/keys.hpp"

#include <algorithm>
#include <utility>

namespace fxfarm::actors {

unsigned worker_slots::kernels_elsewhere(const net::job& job) const {
  if (job.kernel || (options_.signer && !options_.kernel_signers)) return 0;
  return std::min(job.kernels_elsewhere, limits::kernels_per_job);
}

void worker_slots::ask_for_kernel(const engine_kernel& m) {
  auto& slot = slots_.at(m.slot);
  if (!slot.job || slot.job->what.id != m.job) return;  // it has just ended
  const auto& job = *slot.job;
  const auto refuse = [&](error why) {
    self_->send(slot.engine, engine_kernel_answer{m.job, m.kernel, nullptr, std::move(why)});
  };
  if (job.coordinator.empty()) return refuse({errc::busy, "no coordinator is connected"});
  if (slot.kernels.contains(m.kernel)) return refuse({errc::bad_input, "the kernel was asked for before"});
  if (slot.kernels.size() >= kernels_elsewhere(job.what) || slot.kernels_asked >= limits::kernels_asked_per_job) {
    return refuse({errc::busy, "as many kernels as may be"});
  }
  ++slot.kernels_asked;
  slot.kernels.emplace(m.kernel, make_kernel_key(job.what.scope, *m.source, job.what.target, job.what.stage));
  options_.link->send(job.coordinator, net::kernel_wanted{m.job, m.kernel}, m.source);
}

void worker_slots::expect_no_kernels(slot& s) {
  for (const auto& [kernel, key] : std::exchange(s.kernels, {})) {
    self_->send(s.engine, engine_kernel_answer{s.job->what.id, kernel, nullptr,
                                               error{errc::busy, "the coordinator is not connected any longer"}});
  }
}

worker_slots::slot* worker_slots::slot_of(const net::peer_id& coordinator, const std::string& job) {
  const auto at = std::find_if(slots_.begin(), slots_.end(), [&](const slot& s) {
    return s.job && s.job->what.id == job && s.job->coordinator == coordinator;
  });
  return at == slots_.end() ? nullptr : &*at;
}

void worker_slots::bring_kernel(const net::inbound& in, const net::kernel_made& m) {
  auto* at = slot_of(in.peer, m.job);
  if (!at) return;
  const auto kernel = at->kernels.extract(m.kernel);
  if (kernel.empty()) return options_.probe->message_refused();
  std::optional<error> why;
  if (!in.attachment || in.attachment->empty()) {
    why = error{errc::protocol, "the kernel came without its library"};
  } else if (options_.kernel_signers) {
    const auto& digest = in.digest.empty() ? digest_hex(*in.attachment) : in.digest;
    if (auto refused = options_.kernel_signers->refuses({kernel.mapped(), digest, in.attachment->size()}, m.signature))
      why = std::move(refused->why);
  }
  if (!why) {
    options_.probe->kernel_came("made");
  } else {
    log::warning("a kernel of job " + at->job->what.name +
                 " is not taken, and no more are asked for: " + to_string(*why));
    options_.probe->kernel_came(why->code == errc::untrusted ? "untrusted" : "unmade");
    at->job->what.kernels_elsewhere = 0;
  }
  self_->send(at->engine, engine_kernel_answer{m.job, m.kernel, why ? nullptr : in.attachment, std::move(why)});
}

void worker_slots::bring_no_kernel(const net::peer_id& from, const net::kernel_unmade& m) {
  auto* at = slot_of(from, m.job);
  if (!at) return;
  if (at->kernels.erase(m.kernel) == 0) return options_.probe->message_refused();
  options_.probe->kernel_came("unmade");
  const auto code = errc_from_string(m.code);
  self_->send(at->engine, engine_kernel_answer{m.job, m.kernel, nullptr,
                                               error{code == errc::none ? errc::protocol : code, m.reason}});
}

}  // namespace fxfarm::actors
