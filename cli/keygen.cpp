// Makes a pair of keys.

#include "cli/console.hpp"
#include "net/curve.hpp"
#include "runtime/artifact_signature.hpp"
#include "runtime/file_handle.hpp"

#include <cerrno>
#include <cstring>
#include <iostream>
#include <vector>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm::cli {
namespace {

constexpr const char* what_next =
    "\nFor a coordinator: fxfarm coordinator --server-key SECRET --authorized-keys FILE,\n"
    "and give clients and workers its public key: --server-public-key PUBLIC.\n"
    "For a client, a worker or an operator: --secret-key SECRET there, and a line in the coordinator's file of\n"
    "authorized keys, one of\n";

constexpr const char* what_next_signing =
    "\nFor a worker: fxfarm worker --signing-key SECRET, and this line in the coordinators' files of authorized keys "
    "and "
    "in the clients' files of signers (--authorized-keys, FXFARM_SIGNERS):\n";

// What is made: a pair, and how its files are named and written.
struct kind {
  result<key_pair> (*make)();
  std::string (*render_public)(const key_pair&);
  std::string (*render_secret)(const key_pair&);
  const char* public_suffix;
  const char* secret_suffix;
  const char* next;
  std::vector<const char*> rights;
};

// As pyzmq names them.
kind link_keys() {
  return {net::make_key_pair,
          render_public_key,
          render_secret_key,
          ".key",
          ".key_secret",
          what_next,
          {"client    default ", "worker    *       ", "operator  *       "}};
}

kind signing_keys() {
  return {[] { return result<key_pair>(make_signing_keys()); },
          render_signing_public,
          render_signing_secret,
          ".sign",
          ".sign_secret",
          what_next_signing,
          {"signer    *       "}};
}

// Never over a file that is there: it may be somebody's only copy.
result<void> write_new(const std::string& path, const std::string& text, ::mode_t mode) {
  const auto failed = [&] { return error{errc::io, path + ": " + std::strerror(errno)}; };
  const file_handle file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file && errno == EEXIST) return {errc::io, path + " exists already; remove it, or give another name"};
  if (!file) return failed();
  // Whatever the process' mask is.
  if (::fchmod(file.get(), mode) != 0) return failed();
  if (::write(file.get(), text.data(), text.size()) != static_cast<::ssize_t>(text.size())) return failed();
  return ::fsync(file.get()) == 0 ? result<void>() : failed();
}

}  // namespace

exit_code keygen_command(const command& self, const arguments& args) {
  if (wants_only_help(args)) return print_help(self);
  auto operands = args;
  const bool json = std::erase(operands, "--json") > 0;
  const auto what = std::erase(operands, "--signing") > 0 ? signing_keys() : link_keys();
  if (operands.size() != 1 || operands.front().empty() || operands.front().starts_with('-')) {
    return fail(self.name,
                {errc::bad_config, "want: keygen [--signing] NAME [--json], the name that the files begin with"});
  }
  const auto& name = operands.front();
  const auto public_file = name + what.public_suffix, secret_file = name + what.secret_suffix;
  const auto keys = what.make();
  if (!keys) return fail(self.name, keys.failure());
  if (auto wrote = write_new(secret_file, what.render_secret(*keys), S_IRUSR | S_IWUSR); !wrote) {
    return fail(self.name, wrote.failure());
  }
  if (auto wrote = write_new(public_file, what.render_public(*keys), S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH); !wrote) {
    ::unlink(secret_file.c_str());
    return fail(self.name, wrote.failure());
  }
  if (json) {
    const nlohmann::json document{
        {"public_key", keys->public_key}, {"public_file", public_file}, {"secret_file", secret_file}};
    std::cout << document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else {
    std::cout << "secret key: " << secret_file << " (keep it where it is used)\npublic key: " << public_file << "\n"
              << what.next;
    for (const auto* right : what.rights) std::cout << "  " << right << " " << keys->public_key << "  " << name << "\n";
  }
  std::cout << std::flush;
  return std::cout ? exit_ok : fail(self.name, {errc::io, "standard output cannot be written"});
}

}  // namespace fxfarm::cli
