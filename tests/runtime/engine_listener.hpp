#pragma once
// Engines of a few lines of Python, who listens to them, and what is left of them.

#include "runtime/engine_process.hpp"

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <mutex>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fxfarm {

inline constexpr auto patience = std::chrono::seconds(60);  // only a broken test waits so long

// Python's side of the pipes, in front of every script.
inline const std::string engine_prelude = R"(
import os, signal, subprocess, sys, time
def send(data):
    os.write(1, len(data).to_bytes(4, "big") + data)
def receive():
    head = sys.stdin.buffer.read(4)
    return sys.stdin.buffer.read(int.from_bytes(head, "big")) if len(head) == 4 else None
def children():
    return open(f"/proc/self/task/{os.getpid()}/children").read().split()
)";

// What `fxfarm guard` is, from this program: see main below.
inline const std::vector<std::string> guard{"/proc/self/exe", "guard"};

// Collects what an engine tells, and waits for it.
class listener {
public:
  engine_events events() {
    return {[this](bytes frame) {
              std::lock_guard lock(mutex_);
              frames_.emplace_back(text_of(frame));
              changed_.notify_all();
            },
            [this](exit_report report) {
              std::lock_guard lock(mutex_);
              ++exits_;
              report_ = std::move(report);
              changed_.notify_all();
            }};
  }
  std::string frame() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, patience, [this] { return !frames_.empty() || exits_ > 0; }) || frames_.empty()) {
      return "(no frame)";
    }
    auto first = std::move(frames_.front());
    frames_.pop_front();
    return first;
  }
  exit_report exited() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, patience, [this] { return exits_ > 0; }));
    return report_;
  }
  int exits() {
    std::lock_guard lock(mutex_);
    return exits_;
  }
  std::size_t frames_left() {
    std::lock_guard lock(mutex_);
    return frames_.size();
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> frames_;
  exit_report report_;
  int exits_ = 0;
};

inline std::unique_ptr<engine_process> start(listener& l, engine_options options) {
  auto started = engine_process::start(std::move(options), l.events());
  if (!started) {
    ADD_FAILURE() << to_string(started.failure());
    return nullptr;
  }
  return *std::move(started);
}

// An engine of that script, with graces that a test can wait for.
inline engine_options python(const std::string& script) {
  engine_options options;
  options.argv = {"python3", "-S", "-c", engine_prelude + script};
  options.stop_grace = std::chrono::milliseconds(200);
  options.watch_period = std::chrono::milliseconds(20);
  return options;
}

// Whether the process still runs: a zombie, which the parent of an orphan may leave for a while, does not.
inline bool runs(int pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const auto bracket = text.rfind(')');
  return bracket != std::string::npos && text.substr(bracket + 2, 1) != "Z";
}

// Death of a process that is not our child can only be looked for.
inline bool ends_soon(int pid) {
  for (auto end = std::chrono::steady_clock::now() + patience; std::chrono::steady_clock::now() < end;) {
    if (!runs(pid)) return true;
    ::usleep(1000);
  }
  return false;
}

inline bool has_children() {
  return ::waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD;
}

}  // namespace fxfarm
