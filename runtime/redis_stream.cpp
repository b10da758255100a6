#include "runtime/redis_stream.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace fxfarm {
namespace {

using time_point = redis_stream::time_point;

error unreachable(const std::string& what, int why) {
  return {errc::unreachable, what + ": " + std::strerror(why)};
}

result<void> wait_for(int fd, short events, time_point until) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return {errc::timeout, "no answer within the deadline"};
    pollfd p{fd, events, 0};
    const auto most = static_cast<long long>(std::numeric_limits<int>::max());
    const int n = ::poll(&p, 1, static_cast<int>(std::min<long long>(left, most)));
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return unreachable("cannot wait", errno);
  }
}

// --- plain -----------------------------------------------------------------------------------------------------------

class plain_stream final : public redis_stream {
public:
  explicit plain_stream(file_handle socket) : socket_(std::move(socket)) {}

  result<void> write(std::string_view data, time_point until) override {
    while (!data.empty()) {
      const auto n = ::send(socket_.get(), data.data(), data.size(), MSG_NOSIGNAL);
      if (n >= 0) {
        data.remove_prefix(static_cast<std::size_t>(n));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return unreachable("cannot send", errno);
      if (auto waited = wait_for(socket_.get(), POLLOUT, until); !waited) return waited;
    }
    return {};
  }

  result<std::size_t> read(std::span<char> into, time_point until) override {
    while (true) {
      const auto n = ::recv(socket_.get(), into.data(), into.size(), 0);
      if (n > 0) return static_cast<std::size_t>(n);
      if (n == 0) return {errc::unreachable, "the server closed the connection"};
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return unreachable("cannot receive", errno);
      if (auto waited = wait_for(socket_.get(), POLLIN, until); !waited) return waited.failure();
    }
  }

private:
  file_handle socket_;
};

result<file_handle> connect_socket(int family, const sockaddr* to, socklen_t size, time_point until) {
  file_handle s(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!s) return unreachable("cannot open a socket", errno);
  if (::connect(s.get(), to, size) != 0) {
    if (errno != EINPROGRESS) return unreachable("cannot connect", errno);
    if (auto waited = wait_for(s.get(), POLLOUT, until); !waited) return waited.failure();
    int why = 0;
    socklen_t why_size = sizeof why;
    if (::getsockopt(s.get(), SOL_SOCKET, SO_ERROR, &why, &why_size) != 0) why = errno;
    if (why != 0) return unreachable("cannot connect", why);
  }
  const int on = 1;
  // Only a matter of speed; a socket file has no such option.
  (void)::setsockopt(s.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return s;
}

result<file_handle> connect_to(const redis_address& address, time_point until) {
  if (address.is_socket()) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    address.host.copy(to.sun_path, sizeof to.sun_path - 1);
    return connect_socket(AF_UNIX, reinterpret_cast<const sockaddr*>(&to), sizeof to, until);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  const int failed = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &raw);
  if (failed != 0) return {errc::unreachable, std::string("no such host: ") + ::gai_strerror(failed)};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> found(raw, ::freeaddrinfo);
  result<file_handle> last(errc::unreachable, "the host has no address");
  for (const auto* a = found.get(); a != nullptr && !last; a = a->ai_next) {
    last = connect_socket(a->ai_family, a->ai_addr, a->ai_addrlen, until);
  }
  return last;
}

// --- TLS -------------------------------------------------------------------------------------------------------------

std::string tls_reason() {
  std::array<char, 256> text{};
  const auto code = ::ERR_get_error();
  ::ERR_clear_error();
  if (code == 0) return "no reason given";
  ::ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

class openssl_tls final : public redis_tls {
public:
  explicit openssl_tls(SSL_CTX* context) : context_(context, ::SSL_CTX_free) {}
  SSL_CTX* context() const { return context_.get(); }

private:
  std::unique_ptr<SSL_CTX, decltype(&::SSL_CTX_free)> context_;
};

// OpenSSL between two buffers in memory, so that waiting and signals are as without it.
class tls_stream final : public redis_stream {
public:
  tls_stream(std::unique_ptr<redis_stream> below, SSL* session)
      : below_(std::move(below)),
        session_(session, ::SSL_free),
        in_(::BIO_new(::BIO_s_mem())),
        out_(::BIO_new(::BIO_s_mem())) {
    ::SSL_set_bio(session, in_, out_);  // which owns them from now on
  }

  result<void> handshake(const std::string& host, time_point until) {
    auto* verify = ::SSL_get0_param(session_.get());
    if (::X509_VERIFY_PARAM_set1_ip_asc(verify, host.c_str()) != 1) {
      ::ERR_clear_error();
      ::SSL_set_tlsext_host_name(session_.get(), host.c_str());
      if (::SSL_set1_host(session_.get(), host.c_str()) != 1) return {errc::refused, "TLS: " + tls_reason()};
    }
    auto done = complete([this] { return ::SSL_connect(session_.get()); }, until);
    if (!done) return done.failure();
    return {};
  }

  result<void> write(std::string_view data, time_point until) override {
    while (!data.empty()) {
      const auto piece = data.substr(0, piece_bytes);
      auto n =
          complete([&] { return ::SSL_write(session_.get(), piece.data(), static_cast<int>(piece.size())); }, until);
      if (!n) return n.failure();
      data.remove_prefix(static_cast<std::size_t>(*n));
    }
    return {};
  }

  result<std::size_t> read(std::span<char> into, time_point until) override {
    const auto most = std::min(into.size(), piece_bytes);
    auto n = complete([&] { return ::SSL_read(session_.get(), into.data(), static_cast<int>(most)); }, until);
    if (!n) return n.failure();
    return static_cast<std::size_t>(*n);
  }

private:
  static constexpr std::size_t piece_bytes = std::size_t{1} << 20;

  // Repeats one of OpenSSL's operations, carrying bytes for it, until it returns more than 0.
  template <class Operation>
  result<int> complete(Operation&& operation, time_point until) {
    while (true) {
      ::ERR_clear_error();
      const int n = operation();
      const int why = n > 0 ? SSL_ERROR_NONE : ::SSL_get_error(session_.get(), n);
      if (auto sent = send_out(until); !sent) return sent.failure();
      if (n > 0) return n;
      if (why == SSL_ERROR_ZERO_RETURN) return {errc::unreachable, "the server closed the connection"};
      if (why != SSL_ERROR_WANT_READ) return tls_error();
      if (auto received = take_in(until); !received) return received.failure();
    }
  }

  error tls_error() {
    const auto verified = ::SSL_get_verify_result(session_.get());
    if (verified == X509_V_OK) return {errc::unreachable, "TLS: " + tls_reason()};
    ::ERR_clear_error();
    return {errc::refused, std::string("TLS: the server's certificate: ") + ::X509_verify_cert_error_string(verified)};
  }

  result<void> send_out(time_point until) {
    char* data = nullptr;
    const auto size = BIO_get_mem_data(out_, &data);
    if (size <= 0) return {};
    auto sent = below_->write({data, static_cast<std::size_t>(size)}, until);
    (void)BIO_reset(out_);
    return sent;
  }

  result<void> take_in(time_point until) {
    std::array<char, 16384> buffer;
    auto n = below_->read(buffer, until);
    if (!n) return n.failure();
    if (::BIO_write(in_, buffer.data(), static_cast<int>(*n)) <= 0) return {errc::internal, "TLS: no memory"};
    return {};
  }

  std::unique_ptr<redis_stream> below_;
  std::unique_ptr<SSL, decltype(&::SSL_free)> session_;
  BIO* in_;   // from the server
  BIO* out_;  // to the server
};

}  // namespace

result<std::shared_ptr<const redis_tls>> redis_tls::load(const redis_tls_files& files) {
  ::ERR_clear_error();
  auto made = std::make_shared<openssl_tls>(::SSL_CTX_new(::TLS_client_method()));
  auto* context = made->context();
  if (context == nullptr) return {errc::internal, "TLS: " + tls_reason()};
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  ::SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const bool versioned = ::SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1;
  const auto refuse = [](const std::string& file) {
    return error{errc::bad_config, "cannot use " + file + ": " + tls_reason()};
  };
  const bool trusted = files.authorities.empty()
                           ? ::SSL_CTX_set_default_verify_paths(context) == 1
                           : ::SSL_CTX_load_verify_locations(context, files.authorities.c_str(), nullptr) == 1;
  if (!versioned || !trusted) return refuse(files.authorities.empty() ? "the system's authorities" : files.authorities);
  if (!files.certificate.empty() && ::SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1) {
    return refuse(files.certificate);
  }
  if (!files.key.empty() && (::SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
                             ::SSL_CTX_check_private_key(context) != 1)) {
    return refuse(files.key);
  }
  return std::shared_ptr<const redis_tls>(std::move(made));
}

result<std::unique_ptr<redis_stream>> redis_stream::connect(const redis_address& address, const redis_tls* tls,
                                                            time_point until) {
  auto socket = connect_to(address, until);
  if (!socket) return socket.failure();
  std::unique_ptr<redis_stream> plain = std::make_unique<plain_stream>(*std::move(socket));
  if (tls == nullptr) return plain;
  auto* session = ::SSL_new(static_cast<const openssl_tls*>(tls)->context());
  if (session == nullptr) return {errc::internal, "TLS: " + tls_reason()};
  auto secured = std::make_unique<tls_stream>(std::move(plain), session);
  if (auto greeted = secured->handshake(address.host, until); !greeted) return greeted.failure();
  return std::unique_ptr<redis_stream>(std::move(secured));
}

}  // namespace fxfarm
