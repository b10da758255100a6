#pragma once
// What the raw CPython types of this folder share.

#include <memory>

#include <Python.h>

namespace fxfarm::python {

struct owned_deleter {
  void operator()(PyObject* o) const { Py_DECREF(o); }
};
// A reference that is given back at the end of its scope. Needs the interpreter lock there.
using owned = std::unique_ptr<PyObject, owned_deleter>;

// A function as PyMethodDef and PyType_Slot want it.
template <class F>
PyCFunction as_method(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}
template <class F>
void* as_type_slot(F f) {
  return reinterpret_cast<void*>(f);
}

}  // namespace fxfarm::python
