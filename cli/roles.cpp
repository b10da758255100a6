#include "cli/roles.hpp"

#include "cli/protection.hpp"
#include "cli/service.hpp"
#include "monitoring/log.hpp"
#include "runtime/process_lock.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fxfarm::cli {
namespace {

std::string joined(const std::vector<std::string>& texts) {
  std::string out;
  for (const auto& text : texts) out += (out.empty() ? "" : ", ") + text;
  return out;
}

// The caller's process goes on as the parent and ends; the child, in a session of its own, is the farm. Must come
// before any thread.
result<void> detach(const std::string& log_file) {
  const int log_fd = ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (log_fd < 0) return {errc::io, "log " + log_file + ": " + std::strerror(errno)};
  const pid_t child = ::fork();
  if (child < 0) return {errc::io, std::string("fork: ") + std::strerror(errno)};
  if (child > 0) ::_exit(0);
  ::setsid();
  const int null_fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::dup2(null_fd, STDIN_FILENO);
  ::dup2(log_fd, STDOUT_FILENO);
  ::dup2(log_fd, STDERR_FILENO);
  ::close(null_fd);
  ::close(log_fd);
  return {};
}

// What a local farm leaves in the file system while it runs.
class socket_files {
public:
  explicit socket_files(std::string socket, std::string log) : socket_(std::move(socket)), log_(std::move(log)) {}
  ~socket_files() {
    ::unlink(socket_.c_str());
    if (!log_.empty()) ::unlink(log_.c_str());
  }
  socket_files(const socket_files&) = delete;

private:
  std::string socket_;
  std::string log_;
};

result<std::optional<artifact_signer>> read_signer(const worker_config& config) {
  if (config.signing_key.empty()) return std::optional<artifact_signer>();
  auto signer = artifact_signer::read("signing_key", config.signing_key);
  if (!signer) return signer.failure();
  return std::optional(*std::move(signer));
}

// Null for no file.
result<std::shared_ptr<const signature_check>> read_signers(const std::string& file) {
  if (file.empty()) return std::shared_ptr<const signature_check>();
  return signature_check::of_file("signers", file, [](const error& why) {
    log::error("signers stay as they were", {{"why", why.message}});
  });
}

}  // namespace

result<void> run_coordinator(const coordinator_config& config) {
  auto host =
      service::start("coordinator", config, {config.metrics, config.metrics_token_file, &config, config.insecure});
  if (!host) return host.failure();
  auto keys = open_keys(config);
  if (!keys) return keys.failure();
  const bool encrypted = keys->has_value();
  auto coordinator = coordinator_half::start(**host, {config, config.listen, "coordinator", {}, *std::move(keys)});
  if (!coordinator) return coordinator.failure();
  const auto warning = warn_if_open(config.listen, encrypted, (*host)->metrics());
  (*host)->serve();
  log::info("coordinator ready", {{"endpoints", joined((*coordinator)->endpoints())},
                                  {"metrics", (*host)->metrics_address()},
                                  {"keys", encrypted ? "on" : "off"}});
  log::info("stopping", {{"why", (*host)->wait_for_stop()}});
  (*coordinator)->drain();
  return {};
}

result<void> run_worker(const worker_config& config) {
  auto host = service::start("worker", config, {config.metrics, config.metrics_token_file, nullptr});
  if (!host) return host.failure();
  auto keys = net::read_presenting(config.key, config.server_public_key);
  if (!keys) return keys.failure();
  const bool encrypted = keys->has_value();
  auto signer = read_signer(config);
  if (!signer) return signer.failure();
  // What engines must not see.
  const std::vector<std::string> secrets{config.key, config.signing_key, config.config, config.metrics_token_file};
  auto kernel_signers = read_signers(config.signers);
  if (!kernel_signers) return kernel_signers.failure();
  auto worker = worker_half::start(**host, {config, config.coordinators, config.name, *std::move(keys),
                                            *std::move(signer), *std::move(kernel_signers), secrets});
  if (!worker) return worker.failure();
  const auto warning = warn_if_open(config.coordinators, encrypted, (*host)->metrics());
  (*host)->serve();
  log::info("worker ready", {{"coordinators", joined(config.coordinators)}, {"metrics", (*host)->metrics_address()}});
  log::info("stopping", {{"why", (*host)->wait_for_stop()}});
  (*worker)->drain();
  return {};
}

result<void> run_local(const local_config& config) {
  const auto directory = std::filesystem::path(config.socket).parent_path().string();
  if (auto made = paths::make_private(directory); !made) return made.failure();
  const std::string log_file = config.detach ? config.socket + ".log" : std::string();
  // Whoever holds the lock serves the socket; everyone else has nothing to do. A first look spares a process.
  {
    auto free = process_lock::try_take(config.lock());
    if (!free) return free.failure();
    if (!*free) return {};
  }
  if (config.detach) {
    if (auto detached = detach(log_file); !detached) return detached.failure();
  }
  auto lock = process_lock::try_take(config.lock());
  if (!lock) return lock.failure();
  if (!*lock) return {};
  socket_files files(config.socket, log_file);

  auto host = service::start("local", config, {config.metrics, config.metrics_token_file, &config});
  if (!host) return host.failure();
  auto signatures = read_signers(config.signers);
  if (!signatures) return signatures.failure();
  auto coordinator = coordinator_half::start(
      **host, {config, {config.endpoint()}, "local", config.idle_timeout, {}, *std::move(signatures)});
  if (!coordinator) return coordinator.failure();
  const std::vector<std::string> secrets{directory,
                                         config.cache_dir,
                                         config.config,
                                         config.admin_token_file,
                                         config.page_token_file,
                                         config.metrics_token_file,
                                         config.redis.password_file,
                                         config.redis.key_file};
  auto worker = worker_half::start(**host, {config, {config.endpoint()}, "local", {}, {}, {}, secrets, false});
  if (!worker) return worker.failure();
  (*host)->serve();
  log::info("local farm ready", {{"socket", config.socket}, {"metrics", (*host)->metrics_address()}});
  log::info("stopping", {{"why", (*host)->wait_for_stop()}});
  // With the coordinator go all whom the worker works for: what it still runs ends with it.
  (*coordinator)->drain();
  return {};
}

}  // namespace fxfarm::cli
