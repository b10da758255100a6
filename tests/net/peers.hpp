#pragma once
// Both ends of a link for tests over real sockets: a sink that can be waited on, and a peer that sends what it likes.

#include "net/codec.hpp"
#include "net/link.hpp"
#include "runtime/bytes.hpp"

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <stdlib.h>
#include <zmq.hpp>

namespace fxfarm::net {

// Far more than anything needs here; what comes later counts as never.
inline constexpr std::chrono::seconds patience{45};

// How many times as long as elsewhere a test may take that is made with a sanitizer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int slowness = 4;
#else
inline constexpr int slowness = 1;
#endif

// Collects what a router or dialer tells.
class recorder {
public:
  inbound_sink sink() {
    return [this](inbound_batch batch) {
      std::lock_guard lock(mutex_);
      for (auto& one : batch) seen_.push_back(std::move(one));
      batches_.push_back(batch.size());
      changed_.notify_all();
    };
  }

  // Takes the next event that came, in order; nullopt when none comes.
  std::optional<inbound> next(std::chrono::milliseconds within = patience) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, within, [&] { return taken_ < seen_.size(); })) return std::nullopt;
    return std::move(seen_[taken_++]);
  }

  std::vector<std::size_t> batches() {
    std::lock_guard lock(mutex_);
    return batches_;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<inbound> seen_;
  std::size_t taken_ = 0;
  std::vector<std::size_t> batches_;
};

template <class T>
std::optional<T> content_of(const std::optional<inbound>& event) {
  if (!event) return std::nullopt;
  if constexpr (std::is_same_v<T, peer_up> || std::is_same_v<T, peer_down>) {
    const auto* found = std::get_if<T>(&event->event);
    return found == nullptr ? std::nullopt : std::optional<T>(*found);
  } else {
    const auto* found = std::get_if<message>(&event->event);
    if (found == nullptr || !std::holds_alternative<T>(*found)) return std::nullopt;
    return std::get<T>(*found);
  }
}

template <class T>
std::optional<T> next_of(recorder& from) {
  return content_of<T>(from.next());
}

class temp_dir {
public:
  temp_dir() {
    auto pattern = (std::filesystem::temp_directory_path() / "fxfarm-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~temp_dir() { std::filesystem::remove_all(path_); }
  std::string endpoint(const std::string& name = "link") const { return "ipc://" + (path_ / name).string(); }
  std::filesystem::path file(const std::string& name = "link") const { return path_ / name; }

private:
  std::filesystem::path path_;
};

// A socket without any of our manners.
class bare_peer {
public:
  bare_peer(zmq::socket_type type, const std::string& endpoint, bool bind = false) : socket_(context_, type) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvtimeo, static_cast<int>(std::chrono::milliseconds(patience).count()));
    bind ? socket_.bind(endpoint) : socket_.connect(endpoint);
  }

  void send(byte_view frame) { socket_.send(zmq::buffer(frame.data(), frame.size())); }
  void send(const message& what, const attachment_info* attachment = nullptr) {
    send(attachment == nullptr ? encode(what) : announce(encode(what), *attachment));
  }
  void send_to(const std::string& routing, const message& what, const attachment_info* attachment = nullptr) {
    socket_.send(zmq::buffer(routing), zmq::send_flags::sndmore);
    send(what, attachment);
  }
  void send_parts(const std::vector<std::string>& parts) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      socket_.send(zmq::buffer(parts[i]), i + 1 < parts.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    }
  }

  // The next message, whatever it is; of a ROUTER, `routing` is the name of who sent it.
  std::optional<envelope> receive(std::string* routing = nullptr) {
    zmq::message_t part;
    if (routing != nullptr) {
      if (!socket_.recv(part)) return std::nullopt;
      *routing = part.to_string();
    }
    if (!socket_.recv(part)) return std::nullopt;
    auto came = decode(byte_view(static_cast<const std::byte*>(part.data()), part.size()));
    return came ? std::optional(std::move(*came)) : std::nullopt;
  }
  // The next message of this kind; others are passed over.
  template <class T>
  std::optional<T> receive_a(std::string* routing = nullptr) {
    while (auto came = receive(routing)) {
      if (auto* found = std::get_if<T>(&came->content)) return std::move(*found);
    }
    return std::nullopt;
  }
  // Whether something is there now or within the time.
  bool hears(std::chrono::milliseconds within) {
    zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
    return zmq::poll(&item, 1, within) > 0;
  }
  std::string endpoint() const { return socket_.get(zmq::sockopt::last_endpoint); }
  void close() { socket_.close(); }
  void close_when_sent() {
    socket_.set(zmq::sockopt::linger, static_cast<int>(std::chrono::milliseconds(patience).count()));
    socket_.close();
  }

private:
  zmq::context_t context_;
  zmq::socket_t socket_;
};

inline hello hello_of(const std::string& id, const std::string& role = "client") {
  hello who;
  who.role = role;
  who.id = id;
  who.host = "host";
  who.pid = 7;
  who.build = "test";
  return who;
}

inline bytes pattern_bytes(std::size_t size, unsigned seed = 1) {
  bytes out(size);
  std::uint32_t state = seed;
  for (auto& b : out) {
    state = state * 1664525U + 1013904223U;
    b = static_cast<std::byte>(state >> 24);
  }
  return out;
}

}  // namespace fxfarm::net
