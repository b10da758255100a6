// One end of a measurement: a mode and KEY=VALUE words in, a JSON document out. bench/dispatch.py and bench/fanout.py
// are made for it.
#include "link_bench.hpp"

#include "program.hpp"

#include <iostream>

#include <nlohmann/json.hpp>

using namespace fxfarm::bench;

namespace {

void plain(const words& given) {
  serve_plainly(
      {given.text("endpoint"), given.count("answer_bytes"), given.count("piece_bytes"), given.count("messages_max")});
}

void fill(const words& given) {
  fill_store(given.text("endpoint"), given.count("graphs"), given.count("artifact_bytes"));
}

void load(const words& given) {
  load_shape shape;
  shape.endpoint = given.text("endpoint");
  shape.farm = given.text("peer") == "farm";
  if (shape.farm) {
    shape.graphs = given.count("graphs");
    shape.artifact_bytes = given.count("artifact_bytes");
  } else {
    shape.request_bytes = given.count("request_bytes");
    shape.answer_bytes = given.count("answer_bytes");
  }
  shape.connections = given.count("connections");
  shape.outstanding = given.count("outstanding");
  shape.seconds = given.number("seconds");
  const auto got = ask(shape);
  std::cout << nlohmann::json{{"answers", got.answers},           {"received_bytes", got.received_bytes},
                              {"answer_bytes", got.answer_bytes}, {"request_bytes", got.request_bytes},
                              {"seconds", got.seconds},           {"watcher_lost", got.watcher_lost},
                              {"cpu_seconds", got.cpu_seconds},   {"waits_us", got.waits_us}}
            << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  return run_mode("link_bench", {{"plain", plain}, {"fill", fill}, {"load", load}}, argc, argv);
}
