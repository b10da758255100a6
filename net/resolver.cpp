#include "net/resolver.hpp"

#include "net/sockets.hpp"
#include "runtime/endpoint_names.hpp"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include <netdb.h>
#include <sys/socket.h>

namespace fxfarm::net {

result<std::vector<std::string>> system_lookup(const std::string& name) {
  const auto colon = name.rfind(':');
  const auto host = name.substr(0, colon);
  const auto port = name.substr(colon + 1);
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  if (const int failed = ::getaddrinfo(host.c_str(), port.c_str(), &wanted, &found); failed != 0) {
    return {errc::unreachable, ::gai_strerror(failed)};
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, ::freeaddrinfo);
  std::vector<std::string> out;
  for (const auto* a = found; a != nullptr; a = a->ai_next) {
    char address[NI_MAXHOST] = {};
    if (::getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, nullptr, 0, NI_NUMERICHOST) != 0) continue;
    const std::string text(address);
    out.push_back("tcp://" + (a->ai_family == AF_INET6 ? "[" + text + "]" : text) + ":" + port);
  }
  return out;
}

// Outlives the resolver for as long as its thread is in a lookup.
struct resolver::shared {
  resolver_options options;
  std::mutex mutex;  // guards what follows, and is held while telling
  std::condition_variable closing;
  bool closed = false;

  void run() {
    block_signals();
    endpoint_names known(options.endpoints);
    std::optional<std::pair<std::vector<std::string>, std::string>> told;
    for (;;) {
      for (const auto& name : known.names()) known.answer(name, options.lookup(name));
      std::unique_lock lock(mutex);
      if (closed) return;
      std::pair now{known.endpoints(), known.problem()};
      if (told != now) {
        options.changed(now.first, now.second);
        told = std::move(now);
      }
      if (closing.wait_for(lock, options.period, [this] { return closed; })) return;
    }
  }
};

resolver::resolver(resolver_options options) {
  if (endpoint_names(options.endpoints).names().empty()) {
    options.changed(std::move(options.endpoints), {});
    return;
  }
  shared_ = std::make_shared<shared>();
  shared_->options = std::move(options);
  std::thread([s = shared_] { s->run(); }).detach();
}

resolver::~resolver() {
  if (!shared_) return;
  {
    std::lock_guard lock(shared_->mutex);
    shared_->closed = true;
    shared_->options.changed = nullptr;
  }
  shared_->closing.notify_all();
}

}  // namespace fxfarm::net
