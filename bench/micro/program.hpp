#pragma once
// What the programs that measure links share: a mode and KEY=VALUE words in, and clocks.

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

#include <sys/resource.h>

namespace fxfarm::bench {

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

using modes = std::map<std::string, std::function<void(const words&)>>;

// The program's exit status: 2 for a mode that there is not, 1 when it failed, with the reason on standard error.
inline int run_mode(const std::string& program, const modes& all, int argc, char** argv) {
  const auto mode = all.find(argc > 1 ? argv[1] : "");
  if (mode == all.end()) {
    std::cerr << program << ": the first word is";
    for (const auto& [name, run] : all) std::cerr << " " << name;
    std::cerr << "\n";
    return 2;
  }
  try {
    mode->second(words(argc, argv));
  } catch (const std::exception& e) {
    std::cerr << program << ": " << e.what() << "\n";
    return 1;
  }
  return 0;
}

using clock = std::chrono::steady_clock;

inline double seconds_since(clock::time_point then) {
  return std::chrono::duration<double>(clock::now() - then).count();
}

// Processor time of this process.
inline double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace fxfarm::bench
