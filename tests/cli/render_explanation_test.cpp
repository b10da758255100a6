#include "cli/render.hpp"
#include "cli/render_top.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace fxfarm::cli {
namespace {

std::string text(const result<std::string>& r) {
  return r ? *r : to_string(r.failure());
}

}  // namespace

TEST(render_explanation, tells_why_what_to_do_and_all_that_happened) {
  EXPECT_EQ(text(render_explanation(R"({"graph_key": "0123456789abcdef", "name": "mlp/0", "spaces": ["team"],
      "lookups": 3, "age_seconds": 30, "asked_seconds_ago": 1.5, "dropped": 2,
      "stages": [{"name": "default", "stage_key": "fedcba9876543210", "state": "failed", "why": "failed: memory: 2 GiB",
                  "advice": "raise it",
                  "neighbour": {"graph_key": "aaaabbbbccccdddd", "name": "mlp/1", "stage": "default", "equal": 12,
                                "differ": [{"part": "graph.inputs", "here": "a1", "there": ""}]}}],
      "events": [{"seconds": 0, "stage": "default", "step": "missed", "count": 1},
                 {"seconds": 0.25, "stage": "default", "step": "started", "who": "w", "took_seconds": 0.125, "count": 1},
                 {"seconds": 2, "stage": "default", "step": "compiled", "who": "w", "took_seconds": 1.5, "count": 1,
                  "phases": {"codegen": 1, "pack": 0.5}},
                 {"seconds": 3, "stage": "default", "step": "hit", "who": "memory", "count": 40,
                  "last_seconds": 29}]})")),
            "graph      mlp/0\n"
            "key        0123456789abcdef\n"
            "asked for  3 times, first 30 s ago, last 1.5 s ago\n"
            "by spaces  team\n"
            "\n"
            "default (fedcba987654): failed\n"
            "  failed: memory: 2 GiB\n"
            "  to do: raise it\n"
            "  nearest: stage default of mlp/1 (aaaabbbbcccc), 12 parts of the key are equal; what differs:\n"
            "    graph.inputs (a1 here, - there)\n"
            "\n"
            "2 older events are no longer kept\n"
            "\n"
            "    +0.000 s  default  in no tier of the store: to be compiled\n"
            "    +0.250 s  default  given to worker w after 0.125 s in the queue\n"
            "    +2.000 s  default  compiled by worker w in 1.500 s (codegen 1 s, pack 0.500 s)\n"
            "    +3.000 s  default  found in the store (memory) (40 times, the last at   +29.000 s)\n");
}

TEST(render_explanation, has_words_for_every_step) {
  for (const char* step :
       {"hit",         "missed",    "refused",   "remembered", "turned_away", "joined",     "graph_asked",
        "queued",      "started",   "adopted",   "compiled",   "retried",     "answered",   "failed",
        "quarantined", "cancelled", "forgotten", "switched",   "load_failed", "rolled_back"}) {
    const auto shown = text(render_explanation(
        R"({"events": [{"stage": "s", "who": "W", "text": "T", "count": 7, "step": ")" + std::string(step) + "\"}]}"));
    // A step without words of its own is shown as it is called.
    const std::string plain = "s  " + std::string(step);
    EXPECT_EQ(shown.find(plain + " (7 times") == std::string::npos, std::string(step) != "queued") << shown;
  }
}

TEST(render_explanation, odd_documents_are_shown_or_refused_but_never_believed) {
  EXPECT_EQ(text(render_explanation("[]")), "protocol: the answer is no JSON object");
  for (const char* document : {"{}", R"({"stages": 7, "events": [7, null], "spaces": {"a": 1}})",
                               R"({"stages": [7, {"neighbour": 7}, {"neighbour": {"differ": 7}}]})",
                               R"({"events": [{"seconds": "x", "count": -1, "phases": [1]}]})"}) {
    EXPECT_TRUE(render_explanation(document)) << document;
    EXPECT_TRUE(look_at_farm(document, "")) << document;
  }
}

TEST(render_top, shows_what_runs_and_what_waits) {
  const auto look = look_at_farm(R"({"uptime_seconds": 7300, "clients": 2, "draining": true, "jobs": {"queued": 1},
      "workers": [{"name": "w", "state": "busy", "busy": 1, "slots": 2, "problem": "", "gpus": 0, "gpus_busy": 0,
                   "memory_bytes": 0, "memory_free_bytes": 0}],
      "stages": [{"name": "default", "wants_graph": 0, "queued": 1, "running": 1, "storing": 0, "oldest_seconds": 5}],
      "counters": {"lookups": 10, "jobs_started": 3, "jobs_finished": 2, "jobs_retried": 0, "jobs_failed": 0,
                   "joined": 1},
      "running": [{"name": "mlp/0", "stage": "default", "worker": "w", "seconds": 12, "graph_key": "0123456789abcdef"}],
      "slowest": []})",
                                 "");
  ASSERT_TRUE(look);
  EXPECT_EQ(look->text,
            "up 2.0 h, clients 2, draining; jobs: queued 1\n"
            "lookups 10, joined 1, jobs started 3, jobs finished 2, jobs retried 0, jobs failed 0 (since the last "
            "reset)\n"
            "\n"
            "WORKER  STATE  BUSY  SLOTS  GPUS  MEMORY  PROBLEM\n"
            "w       busy   1     2      -     -       -\n"
            "\n"
            "STAGE    WANT GRAPH  QUEUED  RUNNING  STORING  LONGEST WAIT\n"
            "default  0           1       1        0        5.0 s\n"
            "\n"
            "RUNNING  STAGE    WORKER  TIME  KEY\n"
            "mlp/0    default  w       12 s  0123456789ab\n");
}

TEST(render_top, tells_which_job_a_worker_is_kept_for) {
  const auto look = look_at_farm(R"({"workers": [{"name": "w", "state": "idle", "busy": 0, "slots": 2, "kept": true,
      "kept_for": {"graph_key": "0123456789abcdef", "name": "bert/0", "stage": "max"}}]})",
                                 "");
  ASSERT_TRUE(look);
  EXPECT_NE(look->text.find("w       idle, kept for bert/0 max  0     2"), std::string::npos) << look->text;
}

TEST(render_top, makes_rates_of_two_looks) {
  const auto at = [](double uptime, int lookups) {
    return R"({"uptime_seconds": )" + std::to_string(uptime) + R"(, "counters": {"lookups": )" +
           std::to_string(lookups) + "}}";
  };
  const auto rates = [](const std::string& before, const std::string& now) {
    const auto look = look_at_farm(now, before);
    return nlohmann::json::parse(look ? look->document : "null")["rates"];
  };
  EXPECT_EQ(rates(at(10, 100), at(12, 106))["lookups"], 3.0);
  EXPECT_EQ(rates("", at(12, 106)), nullptr);
  EXPECT_EQ(rates(at(10, 100), at(12, 50)), nullptr) << "reset in between";
  EXPECT_EQ(rates(at(10, 100), at(1, 100)), nullptr) << "started anew";
}

}  // namespace fxfarm::cli
