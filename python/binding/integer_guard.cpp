#include "python/binding/integer_guard.hpp"

#include "python/binding/owned.hpp"
#include "runtime/limits.hpp"

#include <array>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <structmember.h>

namespace fxfarm::python {
namespace {

struct guard_object {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* otherwise;
  integer_guard integers;
};

PyTypeObject* guard_type = nullptr;  // set once, when the module is made

guard_object* as_guard(PyObject* o) {
  return reinterpret_cast<guard_object*>(o);
}

PyObject* guard_vectorcall(PyObject* o, PyObject* const* args, std::size_t flagged_count, PyObject* keywords) {
  guard_object* self = as_guard(o);
  const auto count = static_cast<std::size_t>(PyVectorcall_NARGS(flagged_count));
  if (const auto fits = self->integers.fits(args, count)) return PyBool_FromLong(*fits ? 1 : 0);
  return PyObject_Vectorcall(self->otherwise, args, flagged_count, keywords);
}

// The steps of a sequence of (word, number) pairs; nothing, with an exception set, when they are not well formed.
std::optional<integer_steps> steps_of(PyObject* pairs) {
  owned sequence{PySequence_Fast(pairs, "steps must be a sequence")};
  if (!sequence) return std::nullopt;
  std::vector<integer_steps::step> steps;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(sequence.get()); ++i) {
    const char* word = nullptr;
    long long number = 0;
    if (PyArg_ParseTuple(PySequence_Fast_GET_ITEM(sequence.get(), i), "sL:step", &word, &number) == 0)
      return std::nullopt;
    const auto kind = integer_steps::kind_of(word);
    if (!kind) {
      PyErr_Format(PyExc_ValueError, "unknown step %s", word);
      return std::nullopt;
    }
    steps.push_back({*kind, number});
  }
  auto made = integer_steps::make(std::move(steps));
  if (made) return *std::move(made);
  PyErr_SetString(PyExc_ValueError, made.failure().message.c_str());
  return std::nullopt;
}

PyObject* guard_new(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"steps", "otherwise", nullptr};
  PyObject* pairs = nullptr;
  PyObject* otherwise = nullptr;
  if (PyArg_ParseTupleAndKeywords(args, keywords, "OO:IntegerGuard", const_cast<char**>(names), &pairs, &otherwise) ==
      0)
    return nullptr;
  if (PyCallable_Check(otherwise) == 0)
    return PyErr_Format(PyExc_TypeError, "otherwise must be callable, not %.200s", Py_TYPE(otherwise)->tp_name);
  auto steps = steps_of(pairs);
  if (!steps) return nullptr;
  PyObject* o = type->tp_alloc(type, 0);
  if (o == nullptr) return nullptr;
  guard_object* self = as_guard(o);
  self->vectorcall = guard_vectorcall;
  self->otherwise = Py_NewRef(otherwise);
  std::construct_at(&self->integers, *std::move(steps));
  return o;
}

int guard_traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(as_guard(o)->otherwise);
  return 0;
}

// Also reached by the garbage collector while the guard may still be called: None's call raises, and what raises does
// not fit.
int guard_clear(PyObject* o) {
  Py_XSETREF(as_guard(o)->otherwise, Py_NewRef(Py_None));
  return 0;
}

void guard_dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  Py_CLEAR(as_guard(o)->otherwise);
  std::destroy_at(&as_guard(o)->integers);
  type->tp_free(o);
  Py_DECREF(type);
}

PyMemberDef guard_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(guard_object, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot type_slots[] = {
    {Py_tp_new, as_type_slot(guard_new)},
    {Py_tp_dealloc, as_type_slot(guard_dealloc)},
    {Py_tp_traverse, as_type_slot(guard_traverse)},
    {Py_tp_clear, as_type_slot(guard_clear)},
    {Py_tp_call, as_type_slot(PyVectorcall_Call)},
    {Py_tp_members, guard_members},
    {Py_tp_doc, const_cast<char*>("IntegerGuard(steps, otherwise)\n\nWhat the steps make of a call's arguments, as a "
                                  "bool; otherwise(*arguments) where they cannot.")},
    {0, nullptr}};

PyType_Spec type_spec = {
    "fxfarm._core.IntegerGuard", sizeof(guard_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE, type_slots};

}  // namespace

std::optional<bool> integer_guard::run(PyObject* const* args, std::size_t count) {
  const auto positions = steps_.arguments();
  std::array<std::int64_t, limits::guard_arguments_max> numbers{};
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const auto number = number_at(positions[i], args, count);
    if (!number) return std::nullopt;
    numbers[i] = *number;
  }
  const auto fits = steps_.run({numbers.data(), positions.size()});
  if (fits == true) last_.assign(numbers.begin(), numbers.begin() + std::ssize(positions));
  return fits;
}

integer_guard* as_integer_guard(PyObject* o) {
  return Py_TYPE(o) == guard_type ? &as_guard(o)->integers : nullptr;
}

int add_integer_guard_type(PyObject* module) {
  owned type{PyType_FromModuleAndSpec(module, &type_spec, nullptr)};
  if (!type || PyModule_AddObjectRef(module, "IntegerGuard", type.get()) < 0) return -1;
  guard_type = reinterpret_cast<PyTypeObject*>(type.release());
  return 0;
}

}  // namespace fxfarm::python
