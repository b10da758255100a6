#include "runtime/stage_verdict.hpp"

#include "runtime/limits.hpp"
#include "runtime/options.hpp"

#include <array>
#include <cstdio>

namespace fxfarm {
namespace {

constexpr std::size_t key_chars = 12;  // of a key, enough for `cache rm`

std::string seconds_text(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), seconds < 10 ? "%.1f s" : "%.0f s", seconds);
  return text.data();
}

std::string counted(std::size_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

stage_verdict queued(const stage_facts& f) {
  if (!f.missing.empty()) return {"no worker fits: " + f.missing, advice_for(errc::no_worker, f.stage_key)};
  const auto where = f.ahead == 0 ? std::string("is next in the queue") : "waits behind " + counted(f.ahead, "job");
  const auto since = ", for " + seconds_text(f.seconds) + " so far";
  if (f.slots == 0) return {where + since + "; workers that may fit are still starting", {}};
  if (f.memory_bytes > 0) {
    // One that waits for memory lets others go first, so its place in the queue says little.
    const auto kept = f.kept.empty() ? std::string() : "; what is freed of worker " + f.kept + " is kept for it";
    return {"waits for " + render_bytes(f.memory_bytes) + " of a worker's memory" + since +
                ": none with a slot has as much free" + kept,
            "more workers, or a larger --worker-memory-bytes where there is more, shorten the wait"};
  }
  if (!f.avoids.empty()) {
    return {where + since + "; it has failed on worker " + f.avoids + " and is left to others for " +
                render_duration(limits::retry_elsewhere),
            {}};
  }
  if (f.measures) {
    return {where + since + "; " + counted(f.slots, "GPU") + " can take it, each one such job at a time",
            f.ahead > f.slots ? "more workers with such a GPU shorten the queue" : ""};
  }
  return {where + since + "; " + counted(f.slots, "slot") + " can take it",
          f.ahead > f.slots ? "more workers, or more --slots, shorten the queue" : ""};
}

stage_verdict ready(const stage_facts& f) {
  const auto there = "the artifact is there (" + f.source + ")";
  const auto* said = f.client;
  if (said == nullptr) {
    return {there + "; no client has said yet that it runs it",
            "fxfarm.graphs() in the client tells what it waits for, such as a training step's backward"};
  }
  const auto ago = seconds_text(f.client_seconds) + " ago";
  if (said->step == life_step::load_failed) {
    return {there + "; client " + said->who + " could not load it " + ago + ": " + said->text,
            advice_for(errc_from_string(said->text), f.stage_key)};
  }
  if (said->step == life_step::rolled_back) {
    return {there + "; client " + said->who + " left it again " + ago + ": " + said->text,
            advice_for(errc_from_string(said->text), f.stage_key)};
  }
  return {there + "; client " + said->who + " runs it since " + ago, {}};
}

stage_verdict failed(const stage_facts& f) {
  stage_verdict v{"failed: " + to_string(f.why), advice_for(f.why.code, f.stage_key)};
  if (f.remembered_seconds > 0) {
    v.why += "; the next " + seconds_text(f.remembered_seconds) + " everybody is answered so, then it is tried anew";
  }
  return v;
}

}  // namespace

stage_verdict judge(const stage_facts& f) {
  if (f.state == "looking") return {"the store is being asked for it", {}};
  if (f.state == "wants_graph") {
    if (f.asked.empty()) return {"the coordinator waits for a client that has the graph", {}};
    return {"client " + f.asked + " was asked for the graph " + seconds_text(f.seconds) + " ago", {}};
  }
  if (f.state == "queued") return queued(f);
  if (f.state == "running") {
    return {"runs on worker " + f.worker + " for " + seconds_text(f.seconds) + " (attempt " +
                std::to_string(f.attempts) + " of " + std::to_string(f.attempts_max) + ")",
            {}};
  }
  if (f.state == "storing") return {"compiled by worker " + f.worker + ", is being stored", {}};
  if (f.state == "ready") return ready(f);
  if (f.state == "failed") return failed(f);
  if (f.state == "forgotten") return {"an operator had it forgotten; the next one who asks has it made again", {}};
  return {"nobody waits for it any longer; the next one who asks starts it again", {}};
}

std::string advice_for(errc code, const std::string& stage_key) {
  switch (code) {
    case errc::no_worker:
      return "start a worker with that torch, Python, GPU and memory, on a CPU at least as new: `fxfarm status` shows "
             "those there are";
    case errc::quarantined:
      return "the log of the worker tells how its engines died; `fxfarm cache rm " + stage_key.substr(0, key_chars) +
             "` has it tried again";
    case errc::compile_failed:
      return "the text is Inductor's; backend=\"inductor\" should show the same";
    case errc::deadline:
      return "raise --job-deadline of the coordinator";
    case errc::memory:
      return "raise --engine-memory-bytes of the worker, or give it fewer --compile-threads";
    case errc::engine_crashed:
    case errc::engine_start:
      return "the log of the worker tells how the engine ended";
    case errc::unserializable:
      return "install the operator's package where the engines run, and name it in --engine-packages";
    case errc::busy:
      return "the farm is full: more workers; clients come again by themselves";
    case errc::shutdown:
      return "the coordinator is ending; clients go to the next one";
    case errc::corrupt:
      return "`fxfarm cache verify` looks for files that do not match their digest";
    case errc::load_failed:
      return "the client's log names the file or the library; workers need the client's torch and system libraries";
    case errc::slower:
      return "nothing; FXFARM_ROLL_BACK=0 in the client keeps such a stage";
    case errc::refused:
      return "compiled code cannot be differentiated twice: it stays eager";
    case errc::timeout:
    case errc::unreachable:
      return "the network, or a client that ended: it is tried anew when somebody asks again";
    default:
      return {};
  }
}

}  // namespace fxfarm
