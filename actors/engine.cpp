#include "actors/engine.hpp"

#include "monitoring/log.hpp"

#include <algorithm>

#include <caf/send.hpp>

namespace fxfarm::actors {
namespace {

// The end of an engine's log, short enough for a reason that travels.
std::string last_words(const std::string& log) {
  constexpr std::size_t length_max = 2 * limits::KiB;
  if (log.empty()) return {};
  return "; its last words: " + (log.size() <= length_max ? log : "..." + log.substr(log.size() - length_max));
}

}  // namespace

void engine_slot::start(pointer self, std::size_t slot, engine_owner owner, engine_settings settings,
                        monitoring::worker_probe* probe) {
  self_ = self;
  slot_ = slot;
  owner_ = std::move(owner);
  settings_ = std::move(settings);
  probe_ = probe;
  restart_delay_ = settings_.restart_delay_min;
  tenant_ = settings_.first_tenant;
  launch();
}

result<engine_options> engine_slot::process_options() {
  auto options = settings_.process;
  cache_.reset();
  if (settings_.cache_directory.empty()) return options;
  auto given = give_cache(options);
  if (!given) return given.failure().with_context("the engines' cache");
  return options;
}

// In a sandbox an engine that runs jobs can only read the headers, since others read them, too. They are made by one
// that has seen nobody's graphs and nobody's kernels.
result<void> engine_slot::give_cache(engine_options& options) {
  auto headers = engine_cache::headers(settings_.cache_directory);
  if (!headers) return headers.failure();
  options.environment["FXFARM_ENGINE_HEADERS_DIR"] = *headers;
  if (preparing_) {
    options.environment["FXFARM_ENGINE_PREPARE"] = "1";
    options.access.writable.push_back(*headers);
    return {};
  }
  options.access.read_only.push_back(*headers);
  if (!tenant_) return {};
  auto claimed = engine_cache::claim(settings_.cache_directory, *tenant_);
  if (!claimed) return claimed.failure();
  cache_ = *std::move(claimed);
  options.environment["FXFARM_ENGINE_KERNELS_DIR"] = cache_->directory();
  options.access.writable.push_back(cache_->directory());
  return {};
}

void engine_slot::launch() {
  if (ending_) return;
  ++generation_;
  greeted_ = false;
  ready_ = false;
  fatal_.reset();
  auto me = caf::actor_cast<engine_actor>(self_);
  engine_events events;
  events.on_frame = [me, generation = generation_](bytes body) {
    caf::anon_send(me, engine_frame{generation, std::make_shared<bytes>(std::move(body))});
  };
  events.on_exit = [me, generation = generation_](exit_report report) {
    error why{errc::engine_crashed, "the engine " + to_string(report) + last_words(report.log_tail)};
    const bool ours = report.cause.code != errc::none;
    if (ours) why.code = report.cause.code;
    const bool killed_by_others = report.how == exit_report::ending::signalled && !ours;
    const bool well = report.how == exit_report::ending::exited && report.code == 0 && !ours;
    caf::anon_send(me, engine_exited{generation, std::move(why), killed_by_others, well});
  };
  auto options = process_options();
  if (!options) {
    // What is wrong with one namespace's cache must not keep the slot from the others.
    if (tenant_ && !tenant_->empty()) tenant_.reset();
    return restart_later({errc::engine_start, options.failure().message});
  }
  auto process = engine_process::start(*std::move(options), std::move(events));
  if (!process) return restart_later(process.failure());
  process_ = std::move(*process);
  self_->delayed_send(self_, settings_.start_max, engine_deadline{generation_, {}});
}

void engine_slot::restart_later(const error& why) {
  log::warning("engine " + std::to_string(slot_) + ": " + to_string(why));
  probe_->engine_restarted(to_string(why.code));
  self_->send(owner_, engine_state{slot_, std::nullopt, false, why});
  if (ending_) return;
  self_->delayed_send(self_, restart_delay_, engine_restart{});
  restart_delay_ = std::min(2 * restart_delay_, settings_.restart_delay_max);
}

void engine_slot::run(engine_job& job) {
  auto refuse = [&](error why) { self_->send(owner_, engine_outcome{slot_, job.id, nullptr, {}, std::move(why)}); };
  if (!ready_ || job_) return refuse({errc::engine_start, "the engine is not ready for a job"});
  if (tenant_.value_or(job.tenant) != job.tenant) {
    return refuse({errc::engine_start, "the engine has served another namespace"});
  }
  tenant_ = job.tenant;
  if (cache_ && !cache_->holds()) {
    job_ = job.id;
    return process_->kill({errc::engine_crashed, cache_->directory() + " or its lock was deleted"});
  }
  // First, so that not even the shortest job ends unseen.
  auto bounds = settings_.bounds;
  bounds.memory_noted = true;
  process_->watch(bounds);
  if (auto sent = process_->send(encode_compile(job)); !sent) {
    process_->watch({});
    return refuse(sent.failure());
  }
  job_ = job.id;
  kernels_elsewhere_ = job.kernels_elsewhere;
  kernels_awaited_ = 0;
  self_->delayed_send(self_, job.deadline, engine_deadline{generation_, job.id});
}

void engine_slot::cancel(const engine_cancel& m) {
  if (job_ != m.id) return;
  process_->kill({errc::cancelled, m.reason});
}

void engine_slot::change(const engine_change& m) {
  if (job_ || tenant_ == m.tenant) return;
  tenant_ = m.tenant;
  if (!process_) return;  // the next one will be for it
  changing_ = true;
  process_->kill({errc::cancelled, "the next job is another namespace's"});
}

void engine_slot::take_frame(const engine_frame& m) {
  if (m.generation != generation_ || !process_) return;
  auto report = decode_report(*m.body);
  if (report) return take_report(*report);
  process_->kill(report.failure());
}

void engine_slot::take_report(const engine_report& report) {
  // Once each: an engine that a job has broken into must not give itself out for another one.
  const bool greets = std::holds_alternative<engine_hello>(report);
  if ((greets && greeted_) || (ready_ && std::holds_alternative<engine_ready>(report))) {
    return process_->kill(
        {errc::protocol, std::string("the engine says ") + (greets ? "hello" : "that it is ready") + " a second time"});
  }
  if (const auto* hello = std::get_if<engine_hello>(&report)) return say_hello(*hello);
  if (std::holds_alternative<engine_ready>(report) && !greeted_) {
    return process_->kill({errc::protocol, "the engine is ready without having said hello"});
  }
  if (const auto* ready = std::get_if<engine_ready>(&report)) {
    ready_ = true;
    prepared_ = false;
    failed_starts_ = 0;
    probe_->engine_warmed(ready->warm_seconds);
    self_->send(owner_, engine_state{slot_, ready->runs_on, true, std::nullopt, tenant_, ready->kernels});
  } else if (const auto* fatal = std::get_if<engine_fatal>(&report)) {
    fatal_ = fatal->why;
  } else if (const auto* done = std::get_if<engine_done>(&report)) {
    if (job_ == done->id) settle_job(done->artifact, done->phases, std::nullopt);
  } else if (const auto* failed = std::get_if<engine_failed>(&report)) {
    if (job_ == failed->id) settle_job(nullptr, {}, failed->why);
  } else if (const auto* wanted = std::get_if<engine_kernel_wanted>(&report)) {
    ask_for_kernel(*wanted);
  } else if (const auto* progress = std::get_if<engine_progress>(&report)) {
    log::debug("engine " + std::to_string(slot_) + ": job " + progress->id + ": " + progress->phase);
  }
}

void engine_slot::ask_for_kernel(const engine_kernel_wanted& wanted) {
  const bool proper = !wanted.kernel.empty() && wanted.kernel.size() <= limits::kernel_name_bytes_max &&
                      wanted.source->size() <= limits::kernel_source_bytes_max;
  // An answer lets it say as much again as a job does, so that it must not have one for nothing.
  if (!proper || job_ != wanted.id || kernels_awaited_ >= kernels_elsewhere_) {
    return process_->kill({errc::protocol, "the engine asks for a kernel that it may not ask for"});
  }
  ++kernels_awaited_;
  self_->send(owner_, engine_kernel{slot_, wanted.id, wanted.kernel, wanted.source});
}

// An engine that cannot be told goes on without: it compiles the kernel itself.
void engine_slot::bring(const engine_kernel_answer& m) {
  if (job_ != m.job || !process_ || kernels_awaited_ == 0) return;
  --kernels_awaited_;
  if (auto sent = process_->send(encode_kernel_answer(m)); !sent) {
    log::warning("engine " + std::to_string(slot_) + ": a kernel is not brought: " + to_string(sent.failure()));
  }
}

void engine_slot::say_hello(const engine_hello& hello) {
  if (hello.protocol != engine_protocol) {
    process_->kill({errc::protocol, "the engine speaks protocol " + std::to_string(hello.protocol) + ", not " +
                                        std::to_string(engine_protocol)});
    return;
  }
  greeted_ = true;
  self_->send(owner_, engine_state{slot_, hello.runs_on, false, std::nullopt, tenant_});
}

void engine_slot::settle_job(blob artifact, std::map<std::string, double> phases, std::optional<error> why) {
  const auto memory_bytes = process_->memory_peak();
  process_->watch({});
  restart_delay_ = settings_.restart_delay_min;
  auto id = *std::exchange(job_, std::nullopt);
  self_->send(owner_, engine_outcome{slot_, std::move(id), std::move(artifact), std::move(phases), std::move(why),
                                     memory_bytes});
}

void engine_slot::take_exit(const engine_exited& m) {
  if (m.generation != generation_ || !process_) return;
  const auto memory_bytes = process_->memory_peak();
  process_.reset();
  if (std::exchange(changing_, false) && !ending_) {
    probe_->engine_restarted("namespace");
    return launch();
  }
  if (prepare_next(m)) return launch();
  error why = fatal_.value_or(m.why);
  // One that is killed before it could take jobs deserves another chance, though not for ever.
  if (!ready_) {
    const bool chance = m.killed_by_others && ++failed_starts_ < limits::engine_starts_max;
    why.code = chance ? errc::engine_crashed : errc::engine_start;
  }
  ready_ = false;
  auto job = std::exchange(job_, std::nullopt);
  // With a job, that is to blame, or it was cancelled; the engine itself starts well.
  if (job) restart_delay_ = settings_.restart_delay_min;
  // First that the slot is not ready: the outcome may bring the next job at once.
  if (!ending_) restart_later(why);
  if (job) self_->send(owner_, engine_outcome{slot_, std::move(*job), nullptr, {}, why, memory_bytes});
  if (ending_) self_->quit();
}

bool engine_slot::prepare_next(const engine_exited& m) {
  if (ending_) return false;
  if (std::exchange(preparing_, false)) return prepared_ = m.well;
  const bool lacks = !ready_ && fatal_ && fatal_->code == errc::not_found;
  if (!lacks || !settings_.process.confinement || std::exchange(prepared_, false)) return false;
  log::info("engine " + std::to_string(slot_) + ": precompiled headers are made first");
  return preparing_ = true;
}

void engine_slot::pass_deadline(const engine_deadline& m) {
  if (m.generation != generation_ || !process_) return;
  if (m.id.empty()) {
    if (!ready_) process_->kill({errc::engine_start, "the engine was not ready in time"});
  } else if (job_ == m.id) {
    process_->kill({errc::deadline, "the compile ran past its deadline"});
  }
}

void engine_slot::end() {
  ending_ = true;
  if (process_) {
    process_->stop();
  } else {
    self_->quit();
  }
}

engine_actor::behavior_type engine_behavior(engine_slot::pointer self, std::size_t slot, engine_owner owner,
                                            engine_settings settings, monitoring::worker_probe* probe) {
  self->state.start(self, slot, std::move(owner), std::move(settings), probe);
  return {
      [self](engine_job& m) { self->state.run(m); },
      [self](const engine_cancel& m) { self->state.cancel(m); },
      [self](const engine_frame& m) { self->state.take_frame(m); },
      [self](const engine_exited& m) { self->state.take_exit(m); },
      [self](const engine_deadline& m) { self->state.pass_deadline(m); },
      [self](const engine_restart&) { self->state.launch(); },
      [self](const engine_change& m) { self->state.change(m); },
      [self](const engine_kernel_answer& m) { self->state.bring(m); },
      [self](const drain&) { self->state.end(); },
  };
}

}  // namespace fxfarm::actors
