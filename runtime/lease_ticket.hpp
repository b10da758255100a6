#pragma once
// What a worker shows to a coordinator that takes a job over: that a coordinator of this farm has given it that job. A
// worker could otherwise bring a result for whatever it likes.

#include "runtime/error.hpp"

#include <chrono>
#include <string>

namespace fxfarm {

// What a ticket holds for, and for nothing else.
struct lease_facts {
  std::string attempt;
  std::string stage_key;
  std::string graph_key;   // within its namespace
  std::string worker_key;  // public
};

// Coordinators with the same secret accept each other's tickets.
class lease_seal {
public:
  // `secret`: anything that only the farm's coordinators have.
  lease_seal(const std::string& secret, std::chrono::seconds valid_for);

  // `now`: seconds of the clock on the wall.
  std::string seal(const lease_facts& facts, double now) const;
  // Errors: refused, with what is wrong.
  result<void> check(const lease_facts& facts, const std::string& ticket, double now) const;

private:
  std::string mac_of(const lease_facts& facts, const std::string& granted) const;

  std::string key_;
  std::chrono::seconds valid_for_;
};

}  // namespace fxfarm
