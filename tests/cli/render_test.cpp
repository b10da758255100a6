#include "cli/render.hpp"

#include <gtest/gtest.h>

namespace fxfarm::cli {
namespace {

std::string text(const result<std::string>& r) {
  return r ? *r : to_string(r.failure());
}

TEST(render, status) {
  EXPECT_EQ(text(render_status(R"({"role": "coordinator", "version": "0.1.0", "id": "c1", "uptime_seconds": 12.5,
      "endpoints": ["tcp://127.0.0.1:7070", "ipc:///run/f.sock"], "metrics": "127.0.0.1:9090",
      "peers": {"clients": 2, "workers": 1},
      "workers": [{"name": "farmhand", "state": "ready", "slots": 4, "busy": 1, "gpus": 2, "gpus_busy": 1,
                   "memory_bytes": 8589934592, "memory_free_bytes": 1610612736, "sandbox": "bubblewrap",
                   "runs_on": {"torch": "2.13.0", "python": "3.11", "isa": "x86-64-v3", "gpu": ""}}],
      "jobs": {"queued": 0, "running": 1, "wants_graph": 0},
      "store": {"disk_bytes": 10, "memory_bytes": 1572864}})")),
            "role       coordinator\n"
            "version    0.1.0\n"
            "id         c1\n"
            "uptime     12.500 s\n"
            "endpoints  tcp://127.0.0.1:7070, ipc:///run/f.sock\n"
            "metrics    127.0.0.1:9090\n"
            "peers      clients 2, workers 1\n"
            "jobs       queued 0, running 1, wants_graph 0\n"
            "store      disk_bytes 10 B, memory_bytes 1.5 MiB\n"
            "\n"
            "WORKER    STATE  BUSY  SLOTS  GPUS    MEMORY                   SANDBOX     RUNS ON\n"
            "farmhand  ready  1     4      1 of 2  1.5 GiB of 8.0 GiB free  bubblewrap  torch 2.13.0, python 3.11, "
            "x86-64-v3\n");
}

TEST(render, status_of_a_worker_that_is_kept_for_a_job) {
  const auto shown = [](const std::string& kept) {
    const auto all = text(render_status(R"({"workers": [{"name": "w", "state": "busy", )" + kept + "}]}"));
    const auto from = all.find("busy");
    return all.substr(from, all.find("  ", from) - from);
  };
  EXPECT_EQ(shown(R"("kept": false, "kept_for": null)"), "busy");
  EXPECT_EQ(shown(R"("kept": true, "kept_for": {"graph_key": "0123456789abcdef", "name": "bert/0", "stage": "max"})"),
            "busy, kept for bert/0 max");
  EXPECT_EQ(shown(R"("kept": true, "kept_for": {"graph_key": "0123456789abcdef", "name": "", "stage": "max"})"),
            "busy, kept for 0123456789ab max");
  EXPECT_EQ(shown(R"("kept": true)"), "busy, kept");
  EXPECT_EQ(shown(R"("kept": "yes", "kept_for": 7)"), "busy");
}

TEST(render, status_without_anything_in_it) {
  EXPECT_EQ(text(render_status("{}")),
            "role       -\nversion    -\nid         -\nuptime     - s\nendpoints  -\nmetrics    -\npeers      -\n"
            "jobs       -\nstore      -\n\nno workers\n");
}

TEST(render, stats) {
  EXPECT_EQ(text(render_stats(R"({"since": 86400, "resets": 1, "values": {"jobs": 12345678, "seconds": 0.25}})")),
            "since 1970-01-02T00:00:00Z, resets 1\n\n"
            "NAME     VALUE\n"
            "jobs     12345678\n"
            "seconds  0.250\n");
}

TEST(render, reset) {
  EXPECT_EQ(text(render_reset(R"({"resets": 3})")), "statistics are reset (resets so far: 3)\n");
}

TEST(render, graphs_one_line_for_each_stage) {
  EXPECT_EQ(text(render_graphs(R"({"graphs": [
      {"graph_key": "0123456789abcdef", "name": "mlp/0", "stages": [
        {"name": "default", "state": "ready", "source": "memory", "error": "", "queue_seconds": 0,
         "compile_seconds": 1.5, "subscribers": 2},
        {"name": "max", "state": "failed", "source": "", "error": "memory: 2 GiB", "queue_seconds": 1,
         "compile_seconds": 0, "subscribers": 0}]},
      {"graph_key": "ff", "name": "bare", "stages": []}]})")),
            "GRAPH         NAME   STAGE    STATE   SOURCE  QUEUE s  COMPILE s  SUBSCRIBERS  ERROR\n"
            "0123456789ab  mlp/0  default  ready   memory  0        1.500      2            -\n"
            "0123456789ab  mlp/0  max      failed  -       1        0          0            memory: 2 GiB\n"
            "ff            bare   -        -       -       -        -          -            -\n");
  EXPECT_EQ(text(render_graphs(R"({"graphs": []})")), "no graphs\n");
}

TEST(render, what_was_forgotten) {
  EXPECT_EQ(text(render_forgotten(R"({"stages": 2, "failures": 1, "in_flight": 0})")),
            "stages forgotten: 2, of which failed: 1; in flight and left alone: 0\n");
}

TEST(render, control_characters_of_a_peer_do_not_reach_the_terminal) {
  auto shown = text(render_graphs(R"({"graphs": [{"graph_key": "\u001b[2J", "name": "a\nb", "stages": []}]})"));
  EXPECT_EQ(shown.find('\x1b'), std::string::npos);
  EXPECT_NE(shown.find("a?b"), std::string::npos);
}

TEST(render, odd_documents_are_shown_or_refused_but_never_believed) {
  for (auto render : {render_status, render_stats, render_reset, render_graphs, render_forgotten}) {
    for (auto document : {"", "[]", "null", "{", "\"text\"", "{} {}"}) {
      EXPECT_EQ(text(render(document)), "protocol: the answer is no JSON object") << document;
    }
    for (auto document :
         {R"({"graphs": 7, "workers": 7, "values": 7, "since": "x", "peers": [], "endpoints": {"a": 1}})",
          R"({"graphs": [7, null], "workers": [7, {"runs_on": 7}], "values": {"a": []}, "since": 1e300})",
          R"({"graphs": [{"stages": 7}, {"stages": [7]}], "store": {"x_bytes": "y"}})"}) {
      EXPECT_TRUE(render(document)) << document;
    }
  }
}

}  // namespace
}  // namespace fxfarm::cli
