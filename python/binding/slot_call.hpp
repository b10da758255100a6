#pragma once
// A call of a slot: what runs at each call of a model. Without a guard it is one load, one count, a look at whether a
// profiler runs, and one vectorcall; one call in sixteen is timed. All of it needs the interpreter lock.

#include <cstddef>

#include <Python.h>

namespace fxfarm::python {

struct slot_object;

// Calls the current stage; eager where the arguments do not fit.
PyObject* slot_vectorcall(PyObject* callable, PyObject* const* args, std::size_t flagged_count, PyObject* keywords);
// In the place of slot_vectorcall while something is due, so that other calls need not look.
PyObject* slot_vectorcall_until_due(PyObject* callable, PyObject* const* args, std::size_t flagged_count,
                                    PyObject* keywords);
// Nothing is due any longer.
void forget_due(slot_object* self);

}  // namespace fxfarm::python
