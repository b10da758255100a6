#include "python/binding/slot_register.hpp"

#include "python/binding/slot_object.hpp"

#include <memory>

namespace fxfarm::python {
namespace {

void add_to(call_counts& sum, const call_counts& more) {
  sum.eager += more.eager;
  sum.compiled += more.compiled;
}

call_counts runs_of(const slot_object& slot) {
  const auto eager = slot.stages[0].runs.load(std::memory_order_relaxed);
  return {eager, slot.calls() - eager};
}

}  // namespace

void slot_register::add(const slot_object* slot) {
  std::lock_guard lock(mutex_);
  living_.insert(slot);
}

void slot_register::retire(const slot_object* slot) {
  std::lock_guard lock(mutex_);
  if (living_.erase(slot) > 0) add_to(retired_, runs_of(*slot));
}

call_counts slot_register::retired() const {
  std::lock_guard lock(mutex_);
  return retired_;
}

call_counts slot_register::all() const {
  std::lock_guard lock(mutex_);
  call_counts sum = retired_;
  for (const auto* slot : living_) add_to(sum, runs_of(*slot));
  return sum;
}

void slot_register::renew_lock() {
  std::construct_at(&mutex_);
}

slot_register& slots() {
  static auto* made = new slot_register;
  return *made;
}

}  // namespace fxfarm::python
