#pragma once
// The client library as Python sees it.

#include <pybind11/pybind11.h>

namespace fxfarm::python {

// Adds `Client` and `LoadTask`.
void add_client_types(pybind11::module_& module);

}  // namespace fxfarm::python
