#include "runtime/engine_process.hpp"

#include "runtime/engine_io_thread.hpp"

#include <utility>

namespace fxfarm {

engine_process::engine_process(std::shared_ptr<engine_io_thread> io) : io_(std::move(io)) {}

engine_process::~engine_process() {
  io_->finish();
}

result<std::unique_ptr<engine_process>> engine_process::start(engine_options options, engine_events events) {
  if (!events.on_frame || !events.on_exit) return {errc::bad_input, "an engine's events must all be listened to"};
  auto io = std::make_shared<engine_io_thread>(std::move(options), std::move(events));
  if (auto started = io->start(); !started) return started.failure();
  return std::unique_ptr<engine_process>(new engine_process(std::move(io)));
}

result<void> engine_process::send(bytes frame) {
  return io_->send(std::move(frame));
}

void engine_process::kill(error cause) {
  io_->request_kill(std::move(cause));
}

void engine_process::stop() {
  io_->request_stop();
}

void engine_process::watch(const engine_bounds& bounds) {
  io_->watch(bounds);
}

std::uint64_t engine_process::memory_peak() const {
  return io_->memory_peak();
}

int engine_process::pid() const {
  return io_->pid();
}

}  // namespace fxfarm
