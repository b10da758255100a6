// Looks at what a farm needs on this host, and tells how to mend what it does not have.

#include "cli/console.hpp"
#include "cli/doctor_checks.hpp"
#include "cli/engine_sandbox.hpp"
#include "cli/operator_command.hpp"
#include "cli/render_parts.hpp"
#include "cli/run_program.hpp"
#include "cli/shared_store.hpp"
#include "fxfarm_version.hpp"
#include "runtime/key_book.hpp"
#include "runtime/secret_file.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>

#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm::cli {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr auto python_max = 60s;  // importing torch from a cold disk takes long
constexpr auto compiler_max = 10s;

// Finds the package without importing it first, so that a missing one is not taken for a broken torch.
constexpr const char* python_question =
    "import importlib.util, json, sys, torch\n"
    "there = importlib.util.find_spec('fxfarm') is not None\n"
    "if there: from fxfarm._torch.platform import cpu_isa\n"
    "gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ''\n"
    "print(json.dumps({'torch': torch.__version__, 'python': '%d.%d' % sys.version_info[:2],\n"
    "                  'fxfarm': there, 'isa': cpu_isa() if there else '', 'gpu': gpu}))\n";

double unix_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

directory_facts look_at_directory(const std::string& path, std::string holds, bool must_be_private) {
  directory_facts f;
  f.path = path;
  f.holds = std::move(holds);
  f.must_be_private = must_be_private;
  struct stat info {};
  f.exists = ::stat(path.c_str(), &info) == 0;
  f.is_directory = f.exists && S_ISDIR(info.st_mode);
  f.is_private = f.is_directory && info.st_uid == ::geteuid() && (info.st_mode & 077U) == 0;
  auto nearest = std::filesystem::path(path);
  std::error_code ignored;
  while (!std::filesystem::exists(nearest, ignored) && nearest.has_parent_path() && nearest != nearest.parent_path()) {
    nearest = nearest.parent_path();
  }
  f.may_write = ::faccessat(AT_FDCWD, nearest.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
  return f;
}

// Where roles are when nothing else is said. Whether somebody listens there is told by the attempt to do the same.
port_facts look_at_port(const std::string& address, std::string what_for, std::string option) {
  port_facts f;
  f.address = address;
  const auto colon = address.rfind(':');
  const auto host = address.substr(0, colon), port = address.substr(colon + 1);
  f.what_for = std::move(what_for);
  f.option = std::move(option);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int why = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); why != 0) {
    f.problem = ::gai_strerror(why);
    return f;
  }
  const int fd = ::socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd, found->ai_addr, found->ai_addrlen) != 0) {
    f.in_use = errno == EADDRINUSE;
    if (!f.in_use) f.problem = std::strerror(errno);
  }
  ::close(fd);
  ::freeaddrinfo(found);
  return f;
}

void look_at_host(const doctor_config& c, const config_inputs& in, std::vector<finding>& found) {
  const auto printed = run_program({c.python, "-c", python_question}, python_max);
  found.push_back(judge_python(c.python, printed));
  found.push_back(judge_hardware(printed));
  const auto cxx = in.environment.find("CXX");
  const auto compiler = cxx == in.environment.end() || cxx->second.empty() ? std::string("g++") : cxx->second;
  found.push_back(judge_compiler(compiler, run_program({compiler, "--version"}, compiler_max)));
  // What is asked for may be more than there is; here that is a finding.
  engine_config tried = c;
  if (tried.engine_sandbox == "bubblewrap") tried.engine_sandbox = "auto";
  if (const auto room = open_engine_room(tried, {})) found.push_back(judge_sandbox(room->kind(), room->why_none));
  const auto run = paths::runtime_directory(in.environment, in.uid);
  found.push_back(judge_directory(look_at_directory(run, "sockets of local farms", true)));
  found.push_back(judge_directory(look_at_directory(c.cache_dir, "artifacts", false)));
  found.push_back(judge_directory(look_at_directory(c.engine_cache_dir, "kernels of engines", false)));
  const coordinator_config coordinator;
  const worker_config worker;
  const auto listen = coordinator.listen.front();
  found.push_back(judge_port(look_at_port(listen.substr(listen.find("//") + 2), "a coordinator", "--listen")));
  found.push_back(judge_port(look_at_port(coordinator.metrics, "a coordinator's metrics", "--metrics")));
  found.push_back(judge_port(look_at_port(worker.metrics, "a worker's metrics", "--metrics")));
}

// Keys may stand where commands have them: in variables, or in [client] of the file.
result<link_config> link_of(const doctor_config& c, config_inputs in) {
  if (!c.link.key.empty() || !c.link.server_public_key.empty() || c.link.insecure) return c.link;
  in.arguments.clear();
  auto client = parse_client(in);
  if (!client) return client.failure();
  return static_cast<const link_config&>(client->config);
}

// What the farm has answered, if it was asked.
result<std::string> look_at_farm(const doctor_config& c, const config_inputs& in, std::vector<finding>& found) {
  auto link = link_of(c, in);
  client_config asking;
  asking.endpoint = c.endpoint;
  if (link) static_cast<link_config&>(asking) = *link;
  const auto farm = link ? farm_of(asking, in) : result<farm_address>(link.failure());
  if (!farm && farm.failure().code == errc::unreachable) {
    found.push_back({"farm", grade::well, "none is asked: " + farm.failure().message, {}});
    return farm.failure();
  }
  if (!farm) {
    found.push_back({"farm", grade::wrong, to_string(farm.failure()), "see docs/security.md for keys"});
    return farm.failure();
  }
  if (!farm->keys && !asking.insecure && !stays_on_host(farm->endpoint)) {
    found.push_back({"farm", grade::wrong, farm->endpoint + " leaves this host and would not be encrypted: not asked",
                     "give --secret-key and --server-public-key, or accept that with --insecure"});
    return {errc::refused, "not asked"};
  }
  farm_facts facts;
  facts.endpoint = farm->endpoint;
  facts.encrypted = farm->keys.has_value();
  facts.our_version = build_text;
  facts.asked = unix_now();
  facts.status = ask_coordinator(*farm, {"status"});
  facts.answered = unix_now();
  for (auto& f : judge_farm(facts)) found.push_back(std::move(f));
  return facts.status;
}

result<std::vector<std::string>> signers_in(const std::string& path) {
  if (path.empty()) return std::vector<std::string>();
  const auto book = key_book::open("signers", path);
  if (!book) return book.failure();
  return (*book)->keys()->signers();
}

std::string text_of(const std::vector<finding>& found) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& f : found) {
    rows.push_back({std::string(to_string(f.verdict)), f.check, f.what});
    if (!f.mend.empty()) rows.push_back({"", "", "to do: " + f.mend});
  }
  return render_table(rows);
}

json json_of(const std::vector<finding>& found) {
  json all = json::array();
  for (const auto& f : found) {
    all.push_back({{"check", f.check}, {"verdict", to_string(f.verdict)}, {"what", f.what}, {"mend", f.mend}});
  }
  return {{"findings", std::move(all)}};
}

}  // namespace

exit_code doctor_command(const command& self, const arguments& args) {
  const auto in = config_inputs::of_process(args);
  auto parsed = parse_doctor(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  const auto& c = parsed->config;
  std::vector<finding> found;
  look_at_host(c, in, found);
  auto status = look_at_farm(c, in, found);
  found.push_back(judge_signers({c.signers, signers_in(c.signers), std::move(status)}));
  const auto& token_file = c.admin_token_file;
  const auto token =
      token_file.empty() ? result<std::string>(std::string()) : read_token("admin_token_file", token_file);
  found.push_back(judge_admin_token(token_file, token));
  if (!c.redis.url.empty()) found.push_back(judge_redis(shown_url(c.redis), ping_redis(c.redis)));
  std::cout << (c.json ? json_of(found).dump(-1, ' ', false, json::error_handler_t::replace) + "\n" : text_of(found))
            << std::flush;
  const bool wrong =
      std::any_of(found.begin(), found.end(), [](const finding& f) { return f.verdict == grade::wrong; });
  return wrong ? exit_failed : exit_ok;
}

}  // namespace fxfarm::cli
