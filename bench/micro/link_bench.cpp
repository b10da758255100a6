// One end of a measurement: a mode and KEY=VALUE words in, a JSON document out. bench/dispatch.py and bench/fanout.py
// are made for it.
#include "link_bench.hpp"

#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>

#include <nlohmann/json.hpp>

using namespace fxfarm::bench;

namespace {

class words {
public:
  words(int argc, char** argv) {
    for (int i = 2; i < argc; ++i) {
      const std::string word = argv[i];
      const auto sign = word.find('=');
      if (sign == std::string::npos) throw std::runtime_error("\"" + word + "\" has no value");
      values_[word.substr(0, sign)] = word.substr(sign + 1);
    }
  }

  const std::string& text(const std::string& key) const {
    const auto found = values_.find(key);
    if (found == values_.end()) throw std::runtime_error(key + " is missing");
    return found->second;
  }
  double number(const std::string& key) const { return std::stod(text(key)); }
  std::size_t count(const std::string& key) const { return std::stoul(text(key)); }

private:
  std::map<std::string, std::string> values_;
};

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
  const std::map<std::string, std::function<void(const words&)>> modes{
      {"plain", plain}, {"fill", fill}, {"load", load}};
  const auto mode = modes.find(argc > 1 ? argv[1] : "");
  if (mode == modes.end()) {
    std::cerr << "link_bench: the first word is plain, fill or load\n";
    return 2;
  }
  try {
    mode->second(words(argc, argv));
  } catch (const std::exception& e) {
    std::cerr << "link_bench: " << e.what() << "\n";
    return 1;
  }
  return 0;
}
