#pragma once
// A coordinator that says what a test tells it to, on a real socket.

#include "net/router.hpp"
#include "runtime/keys.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <string>

#include <gtest/gtest.h>
#include <stdlib.h>

namespace fxfarm {

constexpr std::chrono::seconds patience{60};  // only a broken test waits so long

// What one thread puts in and another waits for.
template <class T>
class mailbox {
public:
  void put(T what) {
    std::lock_guard lock(mutex_);
    all_.push_back(std::move(what));
    changed_.notify_all();
  }
  // The first that fits; the others stay.
  template <class Predicate>
  T take(Predicate fits) {
    std::unique_lock lock(mutex_);
    auto found = all_.end();
    const bool there = changed_.wait_for(lock, patience, [&] {
      found = std::find_if(all_.begin(), all_.end(), fits);
      return found != all_.end();
    });
    if (!there) {
      ADD_FAILURE() << "nothing came";
      return {};
    }
    T out = std::move(*found);
    all_.erase(found);
    return out;
  }
  T take() {
    return take([](const T&) { return true; });
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> all_;
};

class scratch_directory {
public:
  scratch_directory() {
    std::string path = (std::filesystem::temp_directory_path() / "fxfarm-XXXXXX").string();
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    path_ = path;
  }
  ~scratch_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  scratch_directory(const scratch_directory&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

private:
  std::filesystem::path path_;
};

class scripted_farm {
public:
  explicit scripted_farm(const std::string& endpoint) {
    net::router_options options;
    options.endpoints = {endpoint};
    options.id = "farm";
    options.build = "1";
    auto started = net::router::start(std::move(options), [this](net::inbound_batch batch) {
      for (auto& in : batch) came_.put(std::move(in));
    });
    if (started) {
      router_ = std::move(*started);
    } else {
      ADD_FAILURE() << to_string(started.failure());
    }
  }

  template <class M>
  struct letter {
    net::peer_id from;
    M what;
    blob attachment;
  };
  // The next message of that kind.
  template <class M>
  letter<M> next() {
    auto in = came_.take([](const net::inbound& i) {
      const auto* m = std::get_if<net::message>(&i.event);
      return m && std::holds_alternative<M>(*m);
    });
    if (in.peer.empty()) return {};
    return {in.peer, std::get<M>(std::get<net::message>(in.event)), in.attachment};
  }
  void send(const net::peer_id& to, net::message what, blob attachment = nullptr) {
    router_->send(to, std::move(what), std::move(attachment));
  }
  // Answers a lookup as a store that has every stage would.
  void serve(const letter<net::lookup>& asked, const std::string& salt) {
    for (const auto& stage : asked.what.stages) {
      net::stage_ready m;
      m.graph_key = asked.what.graph_key;
      m.stage_key = make_stage_key(m.graph_key, asked.what.target, stage, salt);
      m.source = "memory";
      send(asked.from, std::move(m), make_blob(to_bytes("artifact of " + stage.name)));
    }
  }

private:
  mailbox<net::inbound> came_;
  std::unique_ptr<net::router> router_;  // last, since it calls back until it is gone
};

}  // namespace fxfarm
