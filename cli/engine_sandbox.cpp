#include "cli/engine_sandbox.hpp"

#include "cli/run_program.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>

namespace fxfarm::cli {
namespace {

constexpr const char* program = "bwrap";
constexpr std::string_view answer_begins = "fxfarm-paths";

// No package is imported: their places are what is asked for. In a virtual environment the interpreter is known by its
// name there; others are what their links lead to. Compilers are those that Inductor and Triton take; one that is
// installed in a place of its own has its libraries beside its bin, and no home is such a place.
constexpr const char* question = R"(
import glob, importlib.util, os, shutil, site, sys
paths = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *filter(None, sys.path)]
for name in ["fxfarm", *sys.argv[1:]]:
    spec = importlib.util.find_spec(name)
    paths += (spec.submodule_search_locations or [os.path.dirname(spec.origin)]) if spec else []
for compiler in [shutil.which(os.environ.get(v) or name) for v, name in (("CC", "gcc"), ("CXX", "g++"))]:
    for directory in {os.path.dirname(p) for p in (compiler, os.path.realpath(compiler))} if compiler else ():
        parent = os.path.dirname(directory)
        own = glob.glob(os.path.join(glob.escape(parent), "lib*", "gcc")) or glob.glob(os.path.join(glob.escape(parent), "lib*", "clang"))
        home = (os.path.expanduser("~") + "/").startswith(parent + "/")
        paths.append(parent if os.path.basename(directory) == "bin" and own and not home else directory)
venv = sys.prefix != sys.base_prefix
program = sys.executable if venv else os.path.realpath(sys.executable)
print("\0".join(["fxfarm-paths", program, site.getuserbase(), *paths]), end="")
)";

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (true) {
    const auto end = text.find(separator);
    if (const auto word = text.substr(0, end); !word.empty()) out.emplace_back(word);
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

// What engines are run by, and what that must be able to read.
struct interpreter {
  std::string program;
  std::string user_base;
  std::vector<std::string> paths;
};

// Whatever does not answer as Python does, a script that stands in for one perhaps, is taken as it is.
interpreter look_at_interpreter(const engine_config& c) {
  std::vector<std::string> argv{c.python, "-c", question};
  for (auto& name : split(c.engine_packages, ',')) argv.push_back(std::move(name));
  const auto printed = run_program(argv, limits::sandbox_probe_max);
  auto words = printed ? split(*printed, '\0') : std::vector<std::string>();
  if (words.size() >= 3 && words[0] == answer_begins) return {words[1], words[2], {words.begin() + 3, words.end()}};
  if (c.python.find('/') == std::string::npos) return {c.python, {}, {}};
  const auto absolute = std::filesystem::absolute(c.python).string();
  return {absolute, {}, {absolute}};
}

void add(std::vector<sandbox_mount>& to, std::vector<sandbox_mount> more) {
  to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

std::string text_of_variable(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? std::string() : std::string(text);
}

// 0 where CUDA's driver is found and finds a GPU.
constexpr const char* gpu_question = R"(
import ctypes, sys
found = ctypes.CDLL("libcuda.so.1").cuInit(0)
sys.exit(f"cuInit says {found}" if found else 0)
)";

// Why engines would have no GPU in the sandbox that they have outside: what a driver needs is only known from a try.
std::optional<error> loses_gpu(const sandbox& box, const std::string& python) {
  const bool some = std::any_of(box.mounts.begin(), box.mounts.end(), [](const sandbox_mount& m) {
    return m.how == sandbox_mount::kind::device && m.path.starts_with("/dev/nvidia");
  });
  const std::vector<std::string> argv{python, "-c", gpu_question};
  if (!some || !run_program(argv, limits::sandbox_probe_max)) return std::nullopt;
  const auto within = run_program(confined(box, {}, argv), limits::sandbox_probe_max);
  // A driver that takes long says nothing about the sandbox.
  if (within || within.failure().code == errc::timeout) return std::nullopt;
  return error{errc::refused, "in it there is no GPU for engines: " + within.failure().message};
}

}  // namespace

result<engine_room> open_engine_room(const engine_config& c, const std::vector<std::string>& secrets) {
  if (c.engine_sandbox == "none") return engine_room{nullptr, c.python, {}, {}};
  auto python = look_at_interpreter(c);
  auto box = std::make_shared<sandbox>();
  box->program = program;
  box->mounts = system_mounts();
  add(box->mounts, readable(python.paths, box->mounts));
  add(box->mounts, readable(split(text_of_variable("LD_LIBRARY_PATH"), ':'), box->mounts));
  add(box->mounts, readable(split(c.engine_sandbox_paths, ':'), box->mounts));
  add(box->mounts, hidden(secrets, box->mounts));
  box->environment = sandbox_environment();
  for (auto& name : split(c.engine_environment, ',')) box->environment.push_back(std::move(name));

  const auto tried = run_program(confined(*box, {}, {python.program, "-c", "pass"}), limits::sandbox_probe_max);
  const auto failed = tried ? loses_gpu(*box, python.program) : tried.failure();
  if (!failed) return engine_room{std::move(box), python.program, {}, python.user_base};
  if (c.engine_sandbox == "auto") return engine_room{nullptr, c.python, failed->message, {}};
  return {errc::refused, "engine_sandbox: bubblewrap is wanted, but: " + failed->message};
}

}  // namespace fxfarm::cli
