// A client without Python: sends a serialized graph to a farm, waits for its stages, and prints what arrives.
//
//   python examples/cpp_client/export_graph.py graph-of-mine
//   fxfarm local --socket $PWD/farm.sock --python .venv/bin/python &
//   build/release/examples/cpp_client/fxfarm_cpp_client ipc://$PWD/farm.sock graph-of-mine
//
// What this program does with an artifact is to count its bytes. Loading one takes Python and torch.
#include "client/client.hpp"

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace {

using namespace std::chrono_literals;

constexpr auto wait_max = 300s;

// "name value" lines.
std::map<std::string, std::string> read_fields(const std::string& path) {
  std::map<std::string, std::string> fields;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto space = line.find(' ');
    if (space != std::string::npos) fields[line.substr(0, space)] = line.substr(space + 1);
  }
  return fields;
}

fxfarm::result<fxfarm::graph_request> read_request(const std::string& directory) {
  std::ifstream file(directory + "/graph", std::ios::binary);
  if (!file) return {fxfarm::errc::not_found, directory + "/graph: cannot be read"};
  const std::string content{std::istreambuf_iterator<char>(file), {}};

  auto fields = read_fields(directory + "/graph.txt");
  fxfarm::graph_request request;
  request.graph_key = fields["graph_key"];
  request.name = "cpp_client";
  request.graph = fxfarm::make_blob(fxfarm::to_bytes(content));
  request.stages = {{"default", {}}};
  request.target.torch = fields["torch"];
  request.target.python = fields["python"];
  request.target.triton = fields["triton"];
  request.target.arch = fields["arch"];
  request.target.isa = fields["isa"];
  request.target.threads = static_cast<unsigned>(std::strtoul(fields["threads"].c_str(), nullptr, 10));
  return request;
}

int fail(const fxfarm::error& why) {
  std::cerr << "cpp_client: " << to_string(why) << "\n";
  return 1;
}

int run(const std::string& endpoint, const std::string& directory) {
  auto request = read_request(directory);
  if (!request) return fail(request.failure());

  fxfarm::client_options options;
  options.endpoints = {endpoint};
  // Called on the client's thread with each artifact. A program that loads it hands the task to a thread of its own.
  auto farm = fxfarm::client::start(std::move(options), [](const fxfarm::load_task& task) {
    std::cout << "artifact of " << task.artifact->size() << " bytes for stage key " << task.stage_key << "\n";
    task.done({});
  });
  if (!farm) return fail(farm.failure());
  if (auto submitted = (*farm)->submit(std::move(*request)); !submitted) return fail(submitted.failure());

  const auto outcome = (*farm)->wait("", wait_max);
  for (const auto& graph : (*farm)->graphs()) {
    for (const auto& stage : graph.stages) {
      std::cout << graph.name << ": stage " << stage.name << " " << to_string(stage.state) << " " << stage.source
                << stage.error << ", " << stage.seconds_to_ready << " s after it was asked for\n";
    }
  }
  return outcome == fxfarm::wait_result::reached ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: fxfarm_cpp_client ENDPOINT DIRECTORY\n";
    return 2;
  }
  return run(argv[1], argv[2]);
}
