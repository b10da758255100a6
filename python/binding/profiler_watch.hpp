#pragma once
// Spans in PyTorch's profile, at next to no cost while no profiler runs. Whoever knows PyTorch says where its flag is:
// this file and the slot know a dict and a name only. All of it needs the interpreter lock.

#include <cstdint>

#include <Python.h>

namespace fxfarm::python {

struct profiler_watch {
  PyObject* names = nullptr;  // the dict with the flag; null: nothing is watched
  PyObject* flag = nullptr;   // its name there
  PyObject* span = nullptr;   // makes a context manager from a span's name
  std::uint64_t version = 0;  // of the dict when the flag was last looked up
  bool on = false;            // what it was
};
extern profiler_watch watched_profiler;

// Changes with every change of the dict; CPython 3.11 and 3.12 have it, and it spares a call the lookup.
inline std::uint64_t version_of(PyObject* dict) {
  static_assert(PY_VERSION_HEX < 0x030D0000, "find another way to see that a dict has changed: PyDict_Watch");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  return reinterpret_cast<PyDictObject*>(dict)->ma_version_tag;
#pragma GCC diagnostic pop
}

// Whether calls are to be spans.
inline bool profiler_runs() {
  profiler_watch& w = watched_profiler;
  if (w.names == nullptr) return false;
  if (const auto now = version_of(w.names); now != w.version) [[unlikely]] {
    w.version = now;
    w.on = PyDict_GetItemWithError(w.names, w.flag) == Py_True;
  }
  return w.on;
}

// A span of the caller's profile while it lives. What goes wrong in it is reported as unraisable and is no failure of
// the call.
class profiler_span {
public:
  explicit profiler_span(PyObject* name);
  ~profiler_span();
  profiler_span(const profiler_span&) = delete;
  profiler_span& operator=(const profiler_span&) = delete;

private:
  PyObject* entered_ = nullptr;  // null: it could not be begun
};

// Adds the function `watch_profiler` to `module`. 0, or -1 with a Python error set.
int add_profiler_watch(PyObject* module);

}  // namespace fxfarm::python
