// Runs one simulation: KEY=VALUE words of a shape in, a JSON document out. bench/simulate.py is made for it.

#include "simulation.hpp"

#include <cstdio>
#include <iostream>

#include <nlohmann/json.hpp>

using namespace fxfarm::bench;

int main(int argc, char** argv) {
  shape s;
  const std::map<std::string, std::function<void(double)>> words{
      {"hours", [&](double v) { s.hours = v; }},
      {"coordinators", [&](double v) { s.coordinators = static_cast<unsigned>(v); }},
      {"workers", [&](double v) { s.workers = static_cast<unsigned>(v); }},
      {"models_per_hour", [&](double v) { s.models_per_hour = v; }},
      {"swing", [&](double v) { s.swing = v; }},
      {"ranks_max", [&](double v) { s.ranks_max = static_cast<unsigned>(v); }},
      {"graphs_max", [&](double v) { s.graphs_max = static_cast<unsigned>(v); }},
      {"models", [&](double v) { s.models = static_cast<std::uint64_t>(v); }},
      {"stages", [&](double v) { s.stages = static_cast<unsigned>(v); }},
      {"first_seconds", [&](double v) { s.first_seconds = v; }},
      {"later_factor", [&](double v) { s.later_factor = v; }},
      {"worker_failures_per_hour", [&](double v) { s.worker_failures_per_hour = v; }},
      {"coordinator_failures_per_hour", [&](double v) { s.coordinator_failures_per_hour = v; }},
  };
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto sign = word.find('=');
    const auto known = words.find(word.substr(0, sign));
    if (sign == std::string::npos || known == words.end()) {
      std::fprintf(stderr, "simulate: \"%s\" is no word of a shape\n", argv[i]);
      return 2;
    }
    known->second(std::stod(word.substr(sign + 1)));
  }
  const auto out = farm(s).run();
  std::cout << nlohmann::json{{"clients", out.clients},
                              {"lookups", out.lookups},
                              {"compiles", out.compiles},
                              {"artifacts", out.artifacts},
                              {"repeated_elsewhere", out.repeated_elsewhere},
                              {"repeated_here", out.repeated_here},
                              {"failed", out.failed},
                              {"worker_failures", out.worker_failures},
                              {"coordinator_failures", out.coordinator_failures},
                              {"events", out.events},
                              {"busy_seconds", out.busy_seconds},
                              {"first_waits", out.first_waits},
                              {"later_waits", out.later_waits},
                              {"busy", out.busy}}
            << "\n";
  return 0;
}
