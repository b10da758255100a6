#include "python/binding/profiler_watch.hpp"

namespace fxfarm::python {

profiler_watch watched_profiler;

profiler_span::profiler_span(PyObject* name) {
  PyObject* span = PyObject_CallOneArg(watched_profiler.span, name);
  PyObject* begun = span == nullptr ? nullptr : PyObject_CallMethod(span, "__enter__", nullptr);
  if (begun == nullptr) {
    PyErr_WriteUnraisable(watched_profiler.span);
    Py_XDECREF(span);
    return;
  }
  Py_DECREF(begun);
  entered_ = span;
}

// The call's own exception, if it has raised one, stays.
profiler_span::~profiler_span() {
  if (entered_ == nullptr) return;
  PyObject *type = nullptr, *value = nullptr, *trace = nullptr;
  PyErr_Fetch(&type, &value, &trace);
  PyObject* left = PyObject_CallMethod(entered_, "__exit__", "OOO", Py_None, Py_None, Py_None);
  if (left == nullptr) PyErr_WriteUnraisable(entered_);
  Py_XDECREF(left);
  Py_DECREF(entered_);
  PyErr_Restore(type, value, trace);
}

namespace {

PyObject* watch_profiler(PyObject*, PyObject* args) {
  PyObject *names = nullptr, *flag = nullptr, *span = nullptr;
  if (PyArg_ParseTuple(args, "O!UO:watch_profiler", &PyDict_Type, &names, &flag, &span) == 0) return nullptr;
  Py_INCREF(flag);
  PyUnicode_InternInPlace(&flag);
  Py_XSETREF(watched_profiler.span, Py_NewRef(span));
  Py_XSETREF(watched_profiler.flag, flag);
  Py_XSETREF(watched_profiler.names, Py_NewRef(names));
  watched_profiler.version = 0;  // no dict has that one
  Py_RETURN_NONE;
}

PyMethodDef functions[] = {{"watch_profiler", watch_profiler, METH_VARARGS,
                            "watch_profiler(names, flag, span)\n\nWhile names[flag] is True, a slot's calls run within "
                            "span(name), a context manager."},
                           {nullptr, nullptr, 0, nullptr}};

}  // namespace

int add_profiler_watch(PyObject* module) {
  return PyModule_AddFunctions(module, functions);
}

}  // namespace fxfarm::python
