#include "actors/coordinator.hpp"

#include "monitoring/log.hpp"

namespace fxfarm::actors {
namespace {

constexpr auto tick_period = std::chrono::seconds(1);
// A disk that hangs must not hold a lookup for ever: past this it counts as a miss.
constexpr auto store_timeout = std::chrono::seconds(30);

}  // namespace

void coordinator_state::start(pointer self, coordinator_options options) {
  self_ = self;
  options_ = std::move(options);
  active_ = options_.now();
  core_ = std::make_unique<coordinator_core>(options_.settings, *this, *options_.probe, options_.statistics, active_);
  core_->publish_gauges();
  settle();
}

void coordinator_state::handle(const link_events& events) {
  const auto now = options_.now();
  const net::burst answers(*options_.link);
  for (const auto& in : *events.batch) core_->handle(in, now);
  active_ = now;
  settle();
}

void coordinator_state::advance() {
  tick_armed_ = false;
  core_->tick(options_.now());
  settle();
}

void coordinator_state::check_idle() {
  idle_check_armed_ = false;
  settle();
}

void coordinator_state::begin_drain(bool at_once) {
  draining_ = true;
  if (at_once) return end();
  core_->drain(options_.now());
  settle();
}

void coordinator_state::answer(const operator_question& question) {
  question.tell(core_->answer_to({0, question.what, question.arguments}, options_.now()));
  settle();
}

void coordinator_state::send(const net::peer_id& to, net::message what, blob attachment) {
  options_.link->send(to, std::move(what), std::move(attachment));
}

std::shared_ptr<const stored> coordinator_state::find_in_memory(const std::string& stage_key) {
  return options_.find_in_memory(stage_key);
}

void coordinator_state::read_store(const std::string& stage_key) {
  self_->request(options_.artifacts, store_timeout, store_read{stage_key})
      .then(
          [this, stage_key](const store_found& answer) {
            core_->store_read(stage_key, *answer.found, options_.now());
            settle();
          },
          [this, stage_key](caf::error&) {
            log::warning("store: no answer to a read within its deadline, counted as a miss");
            core_->store_read(stage_key, error{errc::timeout, "the store did not answer"}, options_.now());
            settle();
          });
}

void coordinator_state::write_store(const std::string& stage_key, stored what) {
  self_
      ->request(options_.artifacts, store_timeout,
                store_write{stage_key, std::make_shared<const stored>(std::move(what))})
      .then(
          [this, stage_key](const store_written& answer) {
            core_->store_written(stage_key, *answer.outcome, options_.now());
            settle();
          },
          [this, stage_key](caf::error&) {
            core_->store_written(stage_key, {errc::timeout, "the store did not answer"}, options_.now());
            settle();
          });
}

void coordinator_state::remove_stored(const std::string& stage_key) {
  self_->send(options_.artifacts, store_remove{stage_key});
}

void coordinator_state::settle() {
  core_->publish_gauges();
  const auto now = options_.now();
  if (core_->busy()) {
    active_ = now;
    if (!tick_armed_) {
      tick_armed_ = true;
      self_->delayed_send(self_, tick_period, tick{});
    }
    return;
  }
  if (draining_) return end();
  if (!core_->idle()) active_ = now;
  if (options_.idle_timeout.count() == 0) return;
  if (!core_->idle()) return;  // the last client's leaving brings us here again
  const auto idle_until = active_ + options_.idle_timeout;
  if (now >= idle_until) return end();
  if (idle_check_armed_) return;
  idle_check_armed_ = true;
  self_->delayed_send(
      self_, std::chrono::duration_cast<std::chrono::milliseconds>(idle_until - now) + std::chrono::milliseconds(1),
      idle_check{});
}

void coordinator_state::end() {
  if (ended_) return;
  ended_ = true;
  if (options_.on_end) options_.on_end();
  self_->quit();
}

coordinator_actor::behavior_type coordinator_behavior(coordinator_state::pointer self, coordinator_options options) {
  self->state.start(self, std::move(options));
  return {
      [self](const link_events& m) { self->state.handle(m); },
      [self](const tick&) { self->state.advance(); },
      [self](const idle_check&) { self->state.check_idle(); },
      [self](const drain& m) { self->state.begin_drain(m.at_once); },
      [self](const operator_question& m) { self->state.answer(m); },
  };
}

}  // namespace fxfarm::actors
