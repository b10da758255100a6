#include "runtime/sandbox.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

namespace fxfarm {
namespace {

namespace fs = std::filesystem;
using kind = sandbox_mount::kind;

bool is_there(const fs::path& path) {
  std::error_code failure;
  return fs::symlink_status(path, failure).type() != fs::file_type::not_found && !failure;
}

bool is_below(std::string_view path, std::string_view directory) {
  return path == directory || (path.starts_with(directory) && path.substr(directory.size()).starts_with('/'));
}

bool is_seen(std::string_view path, const std::vector<sandbox_mount>& mounts) {
  return std::any_of(mounts.begin(), mounts.end(),
                     [path](const sandbox_mount& m) { return m.how == kind::read_only && is_below(path, m.path); });
}

std::vector<std::string> gpus() {
  std::vector<std::string> out;
  std::error_code failure;
  for (fs::directory_iterator it("/dev", failure), end; !failure && it != end; it.increment(failure)) {
    const auto name = it->path().filename().string();
    if (name.starts_with("nvidia") || name == "kfd" || name == "dri") out.push_back(it->path());
  }
  return out;
}

// What in /proc is the kernel's: neither a process's nor a link to that. Empty where it cannot all be listed.
std::vector<std::string> kernel_files() {
  std::vector<std::string> out;
  std::error_code failure;
  for (fs::directory_iterator it("/proc", failure), end; !failure && it != end; it.increment(failure)) {
    std::error_code unknown;
    const auto name = it->path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos && !it->is_symlink(unknown))
      out.push_back(it->path());
  }
  return failure ? std::vector<std::string>() : out;
}

constexpr const char* kernel_settings = "/proc/sys";

// Whether what is the kernel's in /proc is read-only without /proc itself being so.
bool guards_kernel(const std::vector<sandbox_mount>& mounts) {
  return std::any_of(mounts.begin(), mounts.end(),
                     [](const sandbox_mount& m) { return m.path == kernel_settings && m.how == kind::read_only; });
}

void append(std::vector<std::string>& to, std::initializer_list<std::string> what) {
  to.insert(to.end(), what);
}

void add_mount(std::vector<std::string>& args, const sandbox_mount& m) {
  switch (m.how) {
    case kind::link:
      return append(args, {"--symlink", m.target, m.path});
    case kind::read_only:
      // That the kernel's settings could be written to is not to be tried.
      return append(args, {m.path == kernel_settings ? "--ro-bind" : "--ro-bind-try", m.path, m.path});
    case kind::device:
      return append(args, {"--dev-bind-try", m.path, m.path});
    case kind::hidden_file:
      return append(args, {"--ro-bind", "/dev/null", m.path});
    case kind::hidden_directory:
      return append(args, {"--tmpfs", m.path});
    case kind::writable:
      return append(args, {"--bind", m.path, m.path});
  }
}

}  // namespace

std::vector<sandbox_mount> system_mounts() {
  std::vector<sandbox_mount> out{{"/usr", kind::read_only}};
  for (const char* path : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
    std::error_code failure;
    const auto target = fs::read_symlink(path, failure);
    if (!failure) {
      out.push_back({path, kind::link, target});
    } else if (is_there(path)) {
      out.push_back({path, kind::read_only});
    }
  }
  // No secrets are in these; the rest of /etc stays outside.
  for (const char* path : {"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
                           "/etc/localtime", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"}) {
    if (is_there(path)) out.push_back({path, kind::read_only});
  }
  const auto devices = gpus();
  // Without a GPU, a number of cores is all that is wanted of /sys.
  if (devices.empty()) out.push_back({"/sys/devices/system", kind::read_only});
  for (auto& m : device_mounts(devices)) out.push_back(std::move(m));
  return out;
}

std::vector<sandbox_mount> device_mounts(const std::vector<std::string>& devices) {
  std::vector<sandbox_mount> out;
  for (const auto& device : devices) out.push_back({device, kind::device});
  if (out.empty()) return out;
  out.push_back({"/sys", kind::read_only});
  if (std::none_of(devices.begin(), devices.end(), [](const auto& d) { return d.starts_with("/dev/nvidia"); }))
    return out;
  for (auto& path : kernel_files()) {
    // It would tell of the processes outside, since it comes from there.
    const auto how = path == "/proc/locks" ? kind::hidden_file : kind::read_only;
    out.push_back({std::move(path), how});
  }
  return out;
}

std::vector<sandbox_mount> readable(const std::vector<std::string>& paths, const std::vector<sandbox_mount>& seen) {
  std::vector<sandbox_mount> out;
  for (const auto& path : paths) {
    std::error_code failure;
    const auto real = fs::canonical(path, failure);
    if (failure || !path.starts_with('/') || real == "/") continue;
    const auto plain = fs::path(path).lexically_normal().string();
    for (const auto& one : {plain, real.string()}) {
      if (!is_seen(one, seen)) out.push_back({one, kind::read_only});
    }
  }
  return out;
}

std::vector<sandbox_mount> hidden(const std::vector<std::string>& paths, const std::vector<sandbox_mount>& mounts) {
  std::vector<sandbox_mount> out;
  for (const auto& path : paths) {
    std::error_code failure;
    const auto real = fs::canonical(path, failure);
    if (failure) continue;
    for (const auto& one : {fs::absolute(path).lexically_normal().string(), real.string()}) {
      if (is_seen(one, mounts))
        out.push_back({one, fs::is_directory(real) ? kind::hidden_directory : kind::hidden_file});
    }
  }
  return out;
}

std::vector<std::string> confined(const sandbox& box, const sandbox_access& more,
                                  const std::vector<std::string>& argv) {
  // By path, so that what lies in something else comes after it; what is for one process alone comes last.
  std::map<std::string, sandbox_mount> by_path;
  for (const auto& m : box.mounts) {
    auto [it, fresh] = by_path.try_emplace(m.path, m);
    if (!fresh && m.how != kind::read_only) it->second = m;
  }
  for (const auto& path : more.read_only) by_path[path] = {path, kind::read_only};
  for (const auto& path : more.writable) by_path[path] = {path, kind::writable};

  const auto size = std::to_string(box.temporary_bytes);
  // A session is not made anew: the engine has one, without a terminal, and by its process group it is signalled.
  std::vector<std::string> args{box.program, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"};
  append(args, {"--proc", "/proc", "--dev", "/dev", "--size", size, "--perms", "1777", "--tmpfs", "/dev/shm"});
  append(args, {"--size", size, "--perms", "1777", "--tmpfs", "/tmp"});
  for (const auto& [path, m] : by_path) add_mount(args, m);
  // Only now: what lies in them had to be made.
  for (const auto& [path, m] : by_path) {
    if (m.how == kind::hidden_directory) append(args, {"--remount-ro", path});
  }
  // Since to root's processes, capabilities or not, the kernel's settings would be open.
  if (!guards_kernel(box.mounts)) append(args, {"--remount-ro", "/proc"});
  append(args, {"--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--"});
  args.insert(args.end(), argv.begin(), argv.end());
  return args;
}

std::vector<std::string> sandbox_environment() {
  return {"PATH",
          "LANG",
          "LC_*",
          "TZ",
          "CC",
          "CXX",
          "LD_LIBRARY_PATH",
          "PYTHON*",
          "CUDA_*",
          "NVCC_*",
          "NVIDIA_*",
          "HIP_*",
          "ROC*",
          "HSA_*",
          "OMP_*",
          "GOMP_*",
          "KMP_*",
          "MKL_*",
          "TORCH*",
          "TRITON_*",
          "PYTORCH_*",
          "ATEN_CPU_CAPABILITY"};
}

bool is_inherited(const sandbox& box, std::string_view variable) {
  return std::any_of(box.environment.begin(), box.environment.end(), [&](std::string_view name) {
    return name.ends_with('*') ? variable.starts_with(name.substr(0, name.size() - 1)) : variable == name;
  });
}

}  // namespace fxfarm
