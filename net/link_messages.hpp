#pragma once
// What the two ends of a link say to keep it up and to carry attachments: handled inside net/, actors see only peer_up
// and peer_down. How a message is declared is said in net/messages.hpp.

#include "runtime/bytes.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace fxfarm::net {

inline constexpr std::string_view wire_magic = "fxfarm";
inline constexpr unsigned wire_version = 1;

// First message of a connection, from the one that connected.
struct hello {
  static constexpr std::string_view tag = "hello";
  std::string magic{wire_magic};
  unsigned version = wire_version;
  std::string role;                  // "client", "worker" or "operator"
  std::string id;                    // unique; who says it again takes the place
  std::string host;                  // for people
  std::uint64_t pid = 0;             // for people
  std::string build;                 // fxfarm's version, for people
  std::uint64_t enclosed_bytes = 0;  // how large an attachment may come within a message to this side

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("magic", s.magic);
    f("version", s.version);
    f("role", s.role);
    f("id", s.id);
    f("host", s.host);
    f("pid", s.pid);
    f("build", s.build);
    f("enclosed_bytes", s.enclosed_bytes);
  }
};

// Answer to hello.
struct welcome {
  static constexpr std::string_view tag = "welcome";
  unsigned version = wire_version;
  std::string id;
  std::string build;
  std::uint64_t heartbeat_ms = 0;    // how often each side must be heard
  std::uint64_t enclosed_bytes = 0;  // as in hello
  std::string scope = {};            // the namespace that the client's artifacts are for alone; empty: it shares them

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("version", s.version);
    f("id", s.id);
    f("build", s.build);
    f("heartbeat_ms", s.heartbeat_ms);
    f("enclosed_bytes", s.enclosed_bytes);
    f("scope", s.scope);
  }
};

struct heartbeat {
  static constexpr std::string_view tag = "heartbeat";
  template <class Self, class F>
  static void fields(Self&, F&&) {}
};

// Last message of a connection that ends on purpose.
struct goodbye {
  static constexpr std::string_view tag = "goodbye";
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("reason", s.reason);
  }
};

// The peer's last message, or its handshake, was not accepted.
struct rejected {
  static constexpr std::string_view tag = "rejected";
  std::string code;  // errc by name
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("code", s.code);
    f("reason", s.reason);
  }
};

// A piece of an attachment. Chunks of one stream come in order and without holes.
struct chunk {
  static constexpr std::string_view tag = "chunk";
  std::uint64_t stream = 0;
  std::uint64_t offset = 0;  // bytes
  bytes data;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("stream", s.stream);
    f("offset", s.offset);
    f("data", s.data);
  }
};

// The receiver of a stream has room for so many bytes more.
struct credit {
  static constexpr std::string_view tag = "credit";
  std::uint64_t stream = 0;
  std::uint64_t bytes = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("stream", s.stream);
    f("bytes", s.bytes);
  }
};

// Either side gives the stream up.
struct stream_abort {
  static constexpr std::string_view tag = "stream_abort";
  std::uint64_t stream = 0;
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f("stream", s.stream);
    f("reason", s.reason);
  }
};

}  // namespace fxfarm::net
