#include "actors/output.hpp"

#include "runtime/digest.hpp"
#include "runtime/keys.hpp"
#include "runtime/limits.hpp"

#include <algorithm>
#include <utility>

#include <caf/send.hpp>

namespace fxfarm::actors {
namespace {

// Failures of the farm, not of the graph: another farm may do better.
bool another_farm_may_serve(errc code) {
  return code == errc::no_worker || code == errc::unreachable || code == errc::refused || code == errc::shutdown ||
         code == errc::engine_start;
}

}  // namespace

output_state::~output_state() {
  if (answers_) answers_->close();
}

void output_state::start(pointer self, output_owner owner, output_options options) {
  self_ = self;
  owner_ = std::move(owner);
  answers_ = std::make_shared<gate<output_actor>>(caf::actor_cast<output_actor>(self_));
  options_ = std::move(options);
  submitted_ = options_.now();
  const auto& request = options_.request;
  plan_ = stage_plan(request.stages.size());
  artifacts_.resize(request.stages.size());
  load_attempts_.resize(request.stages.size(), 0);
  status_.id = options_.id;
  status_.graph_key = request.graph_key;
  status_.name = request.name;
  for (const auto& stage : request.stages) {
    stage_status s;
    s.name = stage.name;
    s.stage_key = key_of(stage);
    status_.stages.push_back(std::move(s));
  }
  publish();
}

std::string output_state::key_of(const stage_spec& stage) const {
  const auto& request = options_.request;
  return make_stage_key(scoped_key(scope_, request.graph_key), request.target, stage, options_.salt);
}

void output_state::subscribe_within(const std::string& scope) {
  if (scope != scope_) {
    scope_ = scope;
    for (std::size_t i = 0; i < plan_.size(); ++i) {
      if (plan_.at(i) == stage_plan::state::waiting) status_.stages[i].stage_key = key_of(options_.request.stages[i]);
    }
    publish();
  }
  subscribe();
}

void output_state::handle(const farm_message& m) {
  if (m.in->peer == abandoned_farm_) return;
  status_.farm = m.in->peer;
  const auto& what = std::get<net::message>(m.in->event);
  if (const auto* need = std::get_if<net::need_graph>(&what)) return on(*need);
  if (const auto* progress = std::get_if<net::stage_progress>(&what)) return on(*progress);
  if (const auto* ready = std::get_if<net::stage_ready>(&what)) return on(*ready, *m.in);
  if (const auto* failed = std::get_if<net::stage_failed>(&what)) return on(*failed);
}

void output_state::subscribe() {
  net::lookup m;
  m.graph_key = options_.request.graph_key;
  m.name = options_.request.name;
  m.target = options_.request.target;
  m.space = options_.space;
  m.graph_bytes = options_.request.graph ? options_.request.graph->size() : 0;
  m.refused = refused_;
  m.parts = options_.request.parts;
  for (std::size_t i = 0; i < plan_.size(); ++i) {
    if (plan_.at(i) == stage_plan::state::waiting) m.stages.push_back(options_.request.stages[i]);
  }
  if (m.stages.empty()) return;
  options_.log->count("lookups");
  send(std::move(m));
  if (tick_armed_) return;
  tick_armed_ = true;
  self_->delayed_send(self_, limits::lookup_refresh, tick{});
}

// A farm that forgot us would leave us waiting for ever; asking again is harmless.
void output_state::ask_again() {
  tick_armed_ = false;
  if (!plan_.settled()) subscribe();
}

void output_state::retry() {
  retry_armed_ = false;
  subscribe();
}

void output_state::on(const net::need_graph&) {
  if (!options_.request.graph) return;
  options_.log->count("graphs_sent");
  options_.log->count("graph_bytes", options_.request.graph->size());
  send(net::submit{options_.request.graph_key}, options_.request.graph);
}

void output_state::on(const net::stage_progress& m) {
  for (auto stage : stages_of(m.stage_key)) {
    if (plan_.at(stage) != stage_plan::state::waiting) continue;
    status_.stages[stage].state = m.state == "running" ? stage_state::running : stage_state::queued;
    status_.stages[stage].error.clear();
  }
  publish();
}

std::optional<error> output_state::distrust(const net::stage_ready& m, const net::inbound& in) const {
  const bool own_farm = !options_.fallback.empty() && in.peer == options_.fallback;
  if (!options_.signatures || own_farm) return std::nullopt;
  const artifact_facts came{m.stage_key, in.digest.empty() ? digest_hex(*in.attachment) : in.digest,
                            in.attachment->size()};
  const auto refused = options_.signatures->refuses(came, m.signature);
  return refused ? std::optional(refused->why) : std::nullopt;
}

// The farm has what it accepts itself: asked again it would give the same.
void output_state::refuse(const net::stage_ready& m, const std::vector<std::size_t>& stages, const error& why) {
  options_.log->count("artifacts_untrusted");
  for (const auto stage : stages) {
    plan_.mark_failed(stage);
    fail(stage, why);
  }
  net::switched report{options_.request.graph_key, m.stage_key, status_.stages[stages.front()].name, seconds(), 0, {}};
  report.error = to_string(why.code);
  send(std::move(report));
  publish();
  options_.failed();
}

void output_state::on(const net::stage_ready& m, const net::inbound& in) {
  const auto& artifact = in.attachment;
  if (!artifact) return;
  auto stages = stages_of(m.stage_key);
  std::erase_if(stages, [&](std::size_t stage) { return plan_.at(stage) != stage_plan::state::waiting; });
  if (stages.empty()) return;
  if (const auto why = distrust(m, in)) return refuse(m, stages, *why);
  bool wanted = false;
  for (const auto stage : stages) {
    if (!plan_.mark_ready(stage)) continue;
    wanted = true;
    auto& s = status_.stages[stage];
    s.state = stage_state::fetched;
    s.error.clear();
    s.source = m.source;
    s.phases = m.phases;
    s.seconds_queued = m.queue_seconds;
    s.seconds_to_ready = seconds();
    artifacts_[stage] = artifact;
  }
  if (!wanted) return;
  options_.log->count("artifacts");
  options_.log->count("artifact_bytes", artifact->size());
  load_next();
  publish();
}

void output_state::on(const net::stage_failed& m) {
  auto stages = stages_of(m.stage_key);
  std::erase_if(stages, [&](std::size_t stage) { return plan_.at(stage) != stage_plan::state::waiting; });
  if (stages.empty()) return;
  const auto code = errc_from_string(m.code);
  if (m.retry_ms > 0) {
    // One lookup asks for all stages again, however many the farm was too busy for.
    if (std::exchange(retry_armed_, true)) return;
    const std::chrono::milliseconds latest = limits::lookup_refresh;
    const auto delay = std::min<std::uint64_t>(m.retry_ms, static_cast<std::uint64_t>(latest.count()));
    self_->delayed_send(self_, std::chrono::milliseconds(delay), retry_lookup{});
    return;
  }
  const bool has_fallback = !options_.fallback.empty() && options_.fallback != status_.farm;
  if (has_fallback && abandoned_farm_.empty() && another_farm_may_serve(code)) {
    abandoned_farm_ = status_.farm;
    self_->send(owner_, fall_back{options_.id, {code, m.reason}});
    return;
  }
  for (auto stage : stages) {
    plan_.mark_failed(stage);
    fail(stage, {code, m.reason});
  }
  publish();
  options_.failed();
}

void output_state::fail(std::size_t stage, const error& why) {
  status_.stages[stage].state = stage_state::failed;
  status_.stages[stage].error = to_string(why);
  options_.log->count("stages_failed");
  options_.probe->stage_failed(status_.stages[stage].name, to_string(why.code));
}

void output_state::lose_farm(const error& why) {
  for (std::size_t i = 0; i < plan_.size(); ++i) {
    if (plan_.at(i) != stage_plan::state::waiting) continue;
    status_.stages[i].state = stage_state::waiting;
    status_.stages[i].error = to_string(why);
  }
  publish();
}

void output_state::load_next() {
  auto stage = plan_.take_next();
  if (!stage) return;
  load_started_ = options_.now();
  ++load_attempts_[*stage];
  load_task task;
  task.graph = options_.id;
  task.stage = *stage;
  task.stage_key = status_.stages[*stage].stage_key;
  task.artifact = std::move(artifacts_[*stage]);
  task.told = status_.stages[*stage];
  task.done = [answers = answers_, stage = *stage](result<void> outcome) {
    answers->send(load_result{stage, std::make_shared<const result<void>>(std::move(outcome))});
  };
  options_.load(std::move(task));
}

void output_state::finish_load(const load_result& m) {
  if (m.stage >= plan_.size() || plan_.at(m.stage) != stage_plan::state::loading) return;
  auto& s = status_.stages[m.stage];
  s.seconds_load = std::chrono::duration<double>(options_.now() - load_started_).count();
  const auto prepare = options_.request.prepare_seconds;
  net::switched report{options_.request.graph_key, s.stage_key, s.name, prepare + seconds(), s.seconds_load, {}};
  report.prepare_seconds = prepare;
  report.farm_seconds = s.seconds_to_ready;
  const auto& outcome = *m.outcome;
  if (outcome) {
    s.state = stage_state::loaded;
    s.error.clear();
    s.seconds_to_switch = seconds();
    status_.stage = s.name;
    options_.log->count("stages_loaded");
    options_.probe->switched(s.name, report.request_to_switch_seconds);
    options_.probe->load_took(s.name, s.seconds_load);
    net::release useless;
    for (auto worse : plan_.mark_loaded(m.stage)) {
      status_.stages[worse].state = stage_state::superseded;
      artifacts_[worse].reset();
      useless.stage_keys.push_back(status_.stages[worse].stage_key);
    }
    send(std::move(report));
    if (!useless.stage_keys.empty()) send(std::move(useless));
  } else {
    report.error = to_string(outcome.failure().code);
    send(std::move(report));
    fail_load(m.stage, outcome.failure());
  }
  load_next();
  publish();
  if (s.state == stage_state::failed) options_.failed();
}

void output_state::fail_load(std::size_t stage, const error& why) {
  const bool again = why.code == errc::corrupt && load_attempts_[stage] < limits::load_attempts_max;
  plan_.mark_load_failed(stage, again);
  if (!again) return fail(stage, why);
  auto& s = status_.stages[stage];
  s.state = stage_state::waiting;
  s.error = to_string(why);
  options_.log->count("artifacts_refused");
  refused_.push_back(s.stage_key);
  subscribe();
}

void output_state::roll_back(const rolled_back& m) {
  if (m.stage >= plan_.size() || !plan_.mark_rolled_back(m.stage)) return;
  auto& s = status_.stages[m.stage];
  s.state = stage_state::rolled_back;
  s.error = to_string(m.why);
  status_.stage = plan_.current() ? status_.stages[*plan_.current()].name : "eager";
  options_.log->count("stages_rolled_back");
  options_.probe->rolled_back(s.name);
  send(net::switched{options_.request.graph_key, s.stage_key, s.name, seconds(), s.seconds_load,
                     std::string(to_string(m.why.code))});
  publish();
}

std::vector<std::size_t> output_state::stages_of(const std::string& stage_key) const {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < status_.stages.size(); ++i) {
    if (status_.stages[i].stage_key == stage_key) out.push_back(i);
  }
  return out;
}

double output_state::seconds() const {
  return std::chrono::duration<double>(options_.now() - submitted_).count();
}

void output_state::send(net::message what, blob attachment) {
  self_->send(owner_,
              to_farm{options_.id, std::make_shared<const net::message>(std::move(what)), std::move(attachment)});
}

void output_state::publish() {
  const bool newly = !status_.settled && plan_.settled();
  status_.settled = plan_.settled();
  if (newly) {
    options_.request.graph.reset();
    self_->send(owner_, graph_settled{options_.id});
  }
  options_.log->update(status_);
}

output_actor::behavior_type output_behavior(output_state::pointer self, output_owner owner, output_options options) {
  self->state.start(self, std::move(owner), std::move(options));
  return {
      [self](const farm_message& m) { self->state.handle(m); },
      [self](const resubscribe& m) { self->state.subscribe_within(m.scope); },
      [self](const retry_lookup&) { self->state.retry(); },
      [self](const farm_lost& m) { self->state.lose_farm(m.why); },
      [self](const load_result& m) { self->state.finish_load(m); },
      [self](const rolled_back& m) { self->state.roll_back(m); },
      [self](const tick&) { self->state.ask_again(); },
  };
}

}  // namespace fxfarm::actors
