#include "runtime/stage_verdict.hpp"

#include <chrono>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

const std::string key(64, 'a');

stage_facts facts(std::string state) {
  stage_facts f;
  f.stage_key = key;
  f.state = std::move(state);
  f.seconds = 4.25;
  f.attempts_max = 3;
  return f;
}

stage_facts queued(std::size_t ahead, std::size_t slots, std::string missing = {}) {
  auto f = facts("queued");
  f.ahead = ahead;
  f.slots = slots;
  f.missing = std::move(missing);
  return f;
}

stage_facts queued_for_gpu(std::size_t ahead, std::size_t gpus) {
  auto f = queued(ahead, gpus);
  f.measures = true;
  return f;
}

stage_facts queued_for_memory(std::uint64_t bytes, std::string kept = "") {
  auto f = queued(2, 1);
  f.memory_bytes = bytes;
  f.kept = std::move(kept);
  return f;
}

stage_facts queued_for_others(std::string avoids) {
  auto f = queued(0, 1);
  f.avoids = std::move(avoids);
  return f;
}

stage_facts failed(errc code, std::string message, double remembered = 0) {
  auto f = facts("failed");
  f.why = {code, std::move(message)};
  f.remembered_seconds = remembered;
  return f;
}

life_event said(life_step step, std::string text = {}) {
  return {step, {}, {}, 1, "c", std::move(text), 0};
}

}  // namespace

TEST(stage_verdict, says_why_a_stage_is_not_run) {
  auto running = facts("running");
  running.worker = "w1";
  running.attempts = 2;
  running.seconds = 75;
  auto storing = facts("storing");
  storing.worker = "w1";
  auto asked = facts("wants_graph");
  asked.asked = "c1";

  const std::vector<std::pair<stage_facts, std::string>> rows{
      {facts("looking"), "the store is being asked for it"},
      {facts("wants_graph"), "the coordinator waits for a client that has the graph"},
      {asked, "client c1 was asked for the graph 4.2 s ago"},
      {queued(0, 2), "is next in the queue, for 4.2 s so far; 2 slots can take it"},
      {queued(1, 1), "waits behind 1 job, for 4.2 s so far; 1 slot can take it"},
      {queued_for_gpu(2, 1), "waits behind 2 jobs, for 4.2 s so far; 1 GPU can take it, each one such job at a time"},
      {queued_for_memory(std::uint64_t{3} << 29),
       "waits for 1536MiB of a worker's memory, for 4.2 s so far: none with a slot has as much free"},
      {queued_for_memory(std::uint64_t{1} << 30, "w1"),
       "waits for 1GiB of a worker's memory, for 4.2 s so far: none with a slot has as much free; what is freed of "
       "worker w1 is kept for it"},
      {queued_for_others("w1"),
       "is next in the queue, for 4.2 s so far; it has failed on worker w1 and is left to others for 5s"},
      {queued(7, 0), "waits behind 7 jobs, for 4.2 s so far; workers that may fit are still starting"},
      {queued(7, 0, "torch is 2.13.0, not 2.11.0"), "no worker fits: torch is 2.13.0, not 2.11.0"},
      {running, "runs on worker w1 for 75 s (attempt 2 of 3)"},
      {storing, "compiled by worker w1, is being stored"},
      {failed(errc::compile_failed, "bad"), "failed: compile_failed: bad"},
      {failed(errc::quarantined, "bad", 33),
       "failed: quarantined: bad; the next 33 s everybody is answered so, then it is tried anew"},
      {facts("released"), "nobody waits for it any longer; the next one who asks starts it again"},
      {facts("forgotten"), "an operator had it forgotten; the next one who asks has it made again"},
  };
  for (const auto& [f, why] : rows) EXPECT_EQ(judge(f).why, why);
}

TEST(stage_verdict, of_a_stage_that_is_ready_it_says_what_clients_have_said) {
  auto f = facts("ready");
  f.source = "memory";
  f.client_seconds = 3;
  EXPECT_EQ(judge(f).why, "the artifact is there (memory); no client has said yet that it runs it");
  const std::vector<std::pair<life_event, std::string>> rows{
      {said(life_step::switched), "the artifact is there (memory); client c runs it since 3.0 s ago"},
      {said(life_step::load_failed, "load_failed"),
       "the artifact is there (memory); client c could not load it 3.0 s ago: load_failed"},
      {said(life_step::rolled_back, "slower"),
       "the artifact is there (memory); client c left it again 3.0 s ago: slower"},
  };
  for (const auto& [event, why] : rows) {
    f.client = &event;
    EXPECT_EQ(judge(f).why, why);
    EXPECT_EQ(judge(f).advice.empty(), event.step == life_step::switched);
  }
}

TEST(stage_verdict, says_what_to_do) {
  const std::vector<std::pair<stage_facts, std::string>> rows{
      {queued(0, 0, "no worker is connected"), "start a worker"},
      {queued(9, 2), "more workers"},
      {failed(errc::quarantined, "x"), "`fxfarm cache rm aaaaaaaaaaaa`"},
      {failed(errc::memory, "x"), "--engine-memory-bytes"},
      {failed(errc::deadline, "x"), "--job-deadline"},
      {failed(errc::unserializable, "x"), "--engine-packages"},
      {failed(errc::compile_failed, "x"), "backend=\"inductor\""},
  };
  for (const auto& [f, advice] : rows) EXPECT_NE(judge(f).advice.find(advice), std::string::npos) << judge(f).advice;
  EXPECT_EQ(judge(queued(1, 2)).advice, "");
}
