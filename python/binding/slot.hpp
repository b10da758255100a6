#pragma once
// The callable that a model calls in place of a compiled graph. It is a raw CPython type and not a pybind11 class,
// since a call has to cost no more than the call of its target: one load, one count, one vectorcall.

#include "runtime/client_types.hpp"

#include <Python.h>

namespace fxfarm::python {

// Adds the type `Slot` and the function `retired_runs` to `module`. 0, or -1 with a Python error set.
int add_slot_type(PyObject* module);

// Calls of all slots of the process, those that are gone included. Any thread, with or without the interpreter lock.
call_counts count_calls();

}  // namespace fxfarm::python
