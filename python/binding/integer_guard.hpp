#pragma once
// A test of a call's integer arguments (the sizes of dynamic shapes) that runs no Python: what a guard costs is paid in
// each call of a stage. A raw CPython type for the same reason that `Slot` is one.

#include <Python.h>

namespace fxfarm::python {

// Adds the type `IntegerGuard` to `module`. 0, or -1 with a Python error set.
int add_integer_guard_type(PyObject* module);

}  // namespace fxfarm::python
