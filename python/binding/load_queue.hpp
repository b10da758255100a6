#pragma once
// Stages that wait to be loaded: filled on the client's actor threads, emptied by one loader thread of Python's. It
// holds at most one task per stage of each graph, since the client offers a stage once and waits for its answer. The
// same thread is woken when a stage has failed.

#include "client/client.hpp"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace fxfarm::python {

// Answers its task exactly once: by `finish`, or as cancelled when it goes away unanswered.
class pending_load {
public:
  explicit pending_load(load_task task) : task_(std::move(task)) {}
  pending_load(pending_load&&) = delete;
  ~pending_load() { finish({errc::cancelled, "the loader dropped this stage"}); }

  const load_task& task() const { return task_; }
  void finish(result<void> outcome) {
    if (auto done = std::exchange(task_.done, nullptr)) done(std::move(outcome));
  }

private:
  load_task task_;
};

// What coordinators say of switches, for one thread of Python's. A round waits for its answers, so there are at most a
// few for each graph.
class notice_queue {
public:
  // Any thread.
  void push(switch_notice notice) {
    {
      std::lock_guard lock(mutex_);
      notices_.push_back(std::move(notice));
    }
    ready_.notify_one();
  }

  // Nothing when none came in time, or when the queue is closed.
  std::optional<switch_notice> pop(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    ready_.wait_for(lock, timeout, [this] { return closed_ || !notices_.empty(); });
    if (closed_ || notices_.empty()) return std::nullopt;
    auto first = std::move(notices_.front());
    notices_.pop_front();
    return first;
  }

  void close() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<switch_notice> notices_;
  bool closed_ = false;
};

class load_queue {
public:
  // Any thread. After close a task is answered at once.
  void push(load_task task) {
    auto pending = std::make_shared<pending_load>(std::move(task));
    {
      std::lock_guard lock(mutex_);
      if (closed_) return;
      tasks_.push_back(std::move(pending));
    }
    ready_.notify_one();
  }

  // Any thread. One pop returns at once, without a task.
  void wake() {
    {
      std::lock_guard lock(mutex_);
      woken_ = true;
    }
    ready_.notify_one();
  }

  // Null when nothing came in time, on a wake, or when the queue is closed.
  std::shared_ptr<pending_load> pop(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    ready_.wait_for(lock, timeout, [this] { return closed_ || woken_ || !tasks_.empty(); });
    if (std::exchange(woken_, false) || closed_ || tasks_.empty()) return nullptr;
    auto first = std::move(tasks_.front());
    tasks_.pop_front();
    return first;
  }

  void close() {
    std::deque<std::shared_ptr<pending_load>> left;
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
      left.swap(tasks_);
    }
    ready_.notify_all();
  }

private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::shared_ptr<pending_load>> tasks_;
  bool woken_ = false;
  bool closed_ = false;
};

}  // namespace fxfarm::python
