#pragma once
// All slots of the process, and the runs of those that are gone, so that totals survive a model that is dropped.

#include "runtime/client_types.hpp"

#include <mutex>
#include <unordered_set>

namespace fxfarm::python {

struct slot_object;

// Any thread, with or without the interpreter lock.
class slot_register {
public:
  void add(const slot_object* slot);
  void retire(const slot_object* slot);
  call_counts retired() const;
  call_counts all() const;
  // In the child of a fork: a thread of the parent's that was counting may have held the lock. Nobody was changing the
  // set, since that takes the interpreter lock, which whoever forks has.
  void renew_lock();

private:
  mutable std::mutex mutex_;  // guards what follows
  std::unordered_set<const slot_object*> living_;
  call_counts retired_;
};

// It is never destroyed, since slots may outlive static objects.
slot_register& slots();

}  // namespace fxfarm::python
