// Kernels of jobs, which slots compile that have nothing else to do.

#include "actors/coordinator_core.hpp"
#include "runtime/keys.hpp"

#include <algorithm>
#include <iterator>

namespace fxfarm::actors {

void coordinator_core::on(const net::peer_id& from, const net::kernel_wanted& m, const blob& source, time_point now) {
  const auto why = lend(from, m, source, now);
  if (!why) return;
  probe_.kernel_ended(why->code == errc::busy ? "none_idle" : "refused");
  // Its name as it came, but of one that is longer than any: nobody waits for that.
  if (m.kernel.size() > limits::kernel_name_bytes_max) return;
  send(from, net::kernel_unmade{m.job, m.kernel, std::string(to_string(why->code)), why->message}, nullptr);
}

std::optional<error> coordinator_core::lend(const net::peer_id& from, const net::kernel_wanted& m, const blob& source,
                                            time_point now) {
  const auto* job = jobs_.find_attempt(from, m.job);
  if (!job) return error{errc::not_found, "the worker holds no such job"};
  if (m.kernel.empty() || m.kernel.size() > limits::kernel_name_bytes_max) {
    return error{errc::bad_input,
                 "a kernel's name has 1 to " + std::to_string(limits::kernel_name_bytes_max) + " bytes"};
  }
  if (!source || source->empty()) return error{errc::bad_input, "the kernel came without its source"};
  if (source->size() > limits::kernel_source_bytes_max) {
    return error{errc::too_large, "a kernel's source of " + std::to_string(source->size()) + " bytes, at most " +
                                      std::to_string(limits::kernel_source_bytes_max)};
  }
  if (draining_) return error{errc::busy, "the coordinator is draining"};
  if (!kernels_.has_room(m.job)) return error{errc::busy, "as many of the job's kernels are lent as may be"};
  const auto& r = job->request;
  const auto id = kernels_.next_id();
  const std::string scope(scope_of(r.graph_key));
  const auto helper = scheduler_.lend(id, *r.target, r.space, limits::kernel_memory_bytes, kernels_.unwilling(scope));
  if (helper.empty()) return error{errc::busy, "no slot is idle"};
  kernels_.start({from, m.job, m.kernel}, helper, make_kernel_key(scope, *source, *r.target, *r.stage), scope, now,
                 limits::transfer_time_max(source->size()));
  net::job message;
  message.id = id;
  message.stage_key = kernels_.find(helper, id)->key;
  message.graph_key = plain_key(r.graph_key);
  message.name = r.name;
  message.stage = *r.stage;
  message.target = *r.target;
  message.deadline_ms = static_cast<std::uint64_t>(std::chrono::milliseconds(limits::kernel_deadline).count());
  message.rank = r.rank;
  message.attempts = 1;
  message.space = r.space;
  message.scope = scope;
  message.memory_bytes = limits::kernel_memory_bytes;
  message.kernel = true;
  send(helper, std::move(message), source);
  return std::nullopt;
}

bool coordinator_core::take_kernel(const net::inbound& in, const net::job_done& m) {
  const auto kernel = kernels_.finish(in.peer, m.id);
  if (!kernel) return false;
  scheduler_.release(kernel->id);
  if (!in.attachment || in.attachment->empty()) {
    fail_kernel(*kernel, {errc::protocol, "no library came"});
  } else if (const auto refused = distrust(in, kernel->key, m.signature)) {
    if (settings_.signatures->refuses_signer(m.signature)) pass_over(in.peer, m.signature, refused->why);
    fail_kernel(*kernel, refused->why);
  } else if (!jobs_.find_attempt(kernel->what.owner, kernel->what.job)) {
    probe_.kernel_ended("late");
  } else {
    probe_.kernel_ended("made");
    send(kernel->what.owner, net::kernel_made{kernel->what.job, kernel->what.kernel, m.signature}, in.attachment);
  }
  return true;
}

bool coordinator_core::take_kernel(const net::peer_id& from, const net::job_failed& m) {
  const auto kernel = kernels_.finish(from, m.id);
  if (!kernel) return false;
  scheduler_.release(kernel->id);
  const auto code = errc_from_string(m.code);
  if (code == errc::busy) kernels_.refused(from, kernel->scope);
  if (code == errc::engine_crashed || code == errc::memory || code == errc::deadline) kernels_.strike(kernel->what.job);
  fail_kernel(*kernel, {code == errc::none ? errc::protocol : code, m.reason});
  return true;
}

void coordinator_core::fail_kernel(const kernel_table::lent& kernel, const error& why) {
  const auto& [owner, job, name] = kernel.what;
  if (!jobs_.find_attempt(owner, job)) return probe_.kernel_ended("late");
  probe_.kernel_ended(why.code == errc::busy ? "none_idle" : "failed");
  send(owner, net::kernel_unmade{job, name, std::string(to_string(why.code)), why.message}, nullptr);
}

void coordinator_core::expire_kernels(time_point now) {
  kernels_.forget_refusals();
  kernels_.forget_strikes_unless([this](const std::string& job) { return jobs_.is_held(job); });
  for (const auto& kernel : kernels_.expire(now)) {
    const error why{errc::deadline, "the kernel was not compiled in time"};
    scheduler_.release(kernel.id);
    kernels_.strike(kernel.what.job);
    send(kernel.helper, net::cancel_job{kernel.id, why.message}, nullptr);
    fail_kernel(kernel, why);
  }
}

std::vector<std::string> coordinator_core::without_kernels(const net::peer_id& from,
                                                           const std::vector<std::string>& ids) const {
  std::vector<std::string> leases;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(leases),
               [&](const std::string& id) { return !kernels_.find(from, id); });
  return leases;
}

}  // namespace fxfarm::actors
