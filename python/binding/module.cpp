#include "fxfarm_version.hpp"
#include "python/binding/client_binding.hpp"
#include "python/binding/integer_guard.hpp"
#include "python/binding/slot.hpp"
#include "runtime/digest.hpp"
#include "runtime/paths.hpp"

#include <string>

#include <dlfcn.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

namespace py = pybind11;

namespace fxfarm::python {
namespace {

// Opens a shared library and leaves it open; a later import of it finds it loaded. Constructors of a cold library can
// take long, and Python's own ways of loading one keep the interpreter lock meanwhile.
void preload(const std::string& path) {
  std::string problem;
  {
    py::gil_scoped_release unlocked;
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) problem = dlerror();
  }
  if (problem.empty()) return;
  PyErr_SetString(PyExc_OSError, problem.c_str());
  throw py::error_already_set();
}

// Endpoint of this user's local farm. `tag` keeps farms of different Python environments apart.
std::string default_local_socket(const std::string& tag) {
  auto file = paths::local_socket(paths::runtime_directory(process_environment(), getuid()), tag);
  if (!file) throw py::value_error(to_string(file.failure()));
  return "ipc://" + *file;
}

std::string digest(const py::bytes& data) {
  auto text = static_cast<std::string_view>(data);
  py::gil_scoped_release unlocked;
  return digest_hex(view_of(text));
}

}  // namespace
}  // namespace fxfarm::python

PYBIND11_MODULE(_core, module) {
  using namespace fxfarm::python;
  if (add_slot_type(module.ptr()) < 0 || add_integer_guard_type(module.ptr()) < 0) throw py::error_already_set();
  add_client_types(module);
  module.def("preload", preload, py::arg("path"));
  module.def("default_local_socket", default_local_socket, py::arg("tag"));
  module.def("digest", digest, py::arg("data"));
  module.def("version", [] { return FXFARM_VERSION; });
  module.def("build", [] { return std::string(fxfarm::build_text); });
}
