#pragma once
// Why calls of a graph do not run a stage yet, and what to do about it, in words for people. A plain function of what a
// coordinator knows.

#include "runtime/error.hpp"
#include "runtime/graph_life.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace fxfarm {

struct stage_facts {
  std::string stage_key;
  std::string state;              // of stage_entry
  std::string source;             // tier or worker, when ready
  error why;                      // when failed
  double remembered_seconds = 0;  // how long a failure is still answered from memory
  double seconds = 0;             // since the job came to its state
  std::string worker;             // that has it
  unsigned attempts = 0;          // with the one that runs
  unsigned attempts_max = 0;
  std::string asked;                   // client that was asked for the graph; empty: none could be
  std::size_t ahead = 0;               // queued jobs that go first, unless shares of spaces say otherwise
  std::size_t slots = 0;               // of workers that take jobs and fit; GPUs, when it measures
  bool measures = false;               // it wants a GPU to itself
  std::uint64_t memory_bytes = 0;      // that it waits for, which no worker with a slot has free; 0: not for that
  std::string kept;                    // worker whose memory is kept for it; empty: none
  std::string avoids;                  // worker that could take it, where it has failed before; empty: none
  std::string missing;                 // why no worker fits; empty: one does, or may once it has started
  const life_event* client = nullptr;  // what a client last said of the artifact; null: nothing
  double client_seconds = 0;           // since then
};

struct stage_verdict {
  std::string why;
  std::string advice;  // empty: nothing needs doing
};

stage_verdict judge(const stage_facts& facts);

// What to do about a failure of that kind; empty when nothing helps but another model.
std::string advice_for(errc code, const std::string& stage_key);

}  // namespace fxfarm
