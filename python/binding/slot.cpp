#include "python/binding/slot.hpp"

#include "python/binding/owned.hpp"
#include "python/binding/profiler_watch.hpp"
#include "python/binding/slot_call.hpp"
#include "python/binding/slot_object.hpp"
#include "python/binding/slot_register.hpp"

#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include <pthread.h>
#include <structmember.h>

namespace fxfarm::python {
namespace {

int slot_traverse(PyObject* o, visitproc visit, void* arg) {
  slot_object* self = as_slot(o);
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(self->dict);
  Py_VISIT(self->measured);
  Py_VISIT(self->due);
  for (stage_entry& stage : self->stages) {
    Py_VISIT(stage.target);
    Py_VISIT(stage.guard);
  }
  return 0;
}

// Also reached by the garbage collector while Python code in the same cycle may still call the slot: eager's place is
// taken by None, whose call raises a TypeError, so that `current` always has a target.
int slot_clear(PyObject* o) {
  slot_object* self = as_slot(o);
  Py_CLEAR(self->dict);
  Py_CLEAR(self->measured);
  forget_due(self);
  self->before = nullptr;
  self->current.store(&self->stages[0], std::memory_order_release);
  Py_XSETREF(self->stages[0].target, Py_NewRef(Py_None));
  for (stage_entry& stage : self->stages) {
    if (&stage != &self->stages[0]) Py_CLEAR(stage.target);
    stage.clear_guard();
  }
  return 0;
}

void slot_dealloc(PyObject* o) {
  slot_object* self = as_slot(o);
  PyTypeObject* type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  if (self->weak_references != nullptr) PyObject_ClearWeakRefs(o);
  slot_clear(o);
  Py_CLEAR(self->stages[0].target);
  Py_CLEAR(self->span_names);
  Py_CLEAR(self->name);
  slots().retire(self);
  std::destroy_at(&self->stages);
  type->tp_free(o);
  Py_DECREF(type);
}

PyObject* slot_new(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"eager", "name", nullptr};
  PyObject* eager = nullptr;
  PyObject* name = nullptr;
  if (PyArg_ParseTupleAndKeywords(args, keywords, "O|U:Slot", const_cast<char**>(names), &eager, &name) == 0)
    return nullptr;
  if (PyCallable_Check(eager) == 0)
    return PyErr_Format(PyExc_TypeError, "eager must be callable, not %.200s", Py_TYPE(eager)->tp_name);
  PyObject* held_name = name != nullptr ? Py_NewRef(name) : PyUnicode_FromString("fxfarm_slot");
  if (held_name == nullptr) return nullptr;
  PyObject* o = type->tp_alloc(type, 0);
  if (o == nullptr) {
    Py_DECREF(held_name);
    return nullptr;
  }
  slot_object* self = as_slot(o);
  self->vectorcall = slot_vectorcall;
  self->name = held_name;
  std::construct_at(&self->stages);
  self->stages[0].target = Py_NewRef(eager);
  std::construct_at(&self->current, &self->stages[0]);
  self->best = &self->stages[0];
  std::construct_at(&self->guard_misses, 0);
  slots().add(self);
  return o;
}

// Nobody goes back to this stage any longer. Eager stays for the arguments that a guard refuses, and for stages to
// come.
void drop(slot_object* self, stage_entry& stage) {
  const bool wanted =
      &stage == &self->stages[0] && (!self->sealed || self->current.load(std::memory_order_relaxed)->guard != nullptr);
  if (!wanted) stage.clear();
}

PyObject* slot_publish(PyObject* o, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"index", "target", "boxed", "guard", "measured", nullptr};
  slot_object* self = as_slot(o);
  Py_ssize_t index = 0;
  PyObject* target = nullptr;
  int boxed = 0;
  PyObject* guard = Py_None;
  PyObject* measured = Py_None;
  if (PyArg_ParseTupleAndKeywords(args, keywords, "nO|pOO:publish", const_cast<char**>(names), &index, &target, &boxed,
                                  &guard, &measured) == 0)
    return nullptr;
  if (index < 1 || static_cast<std::size_t>(index) >= stages_max)
    return PyErr_Format(PyExc_ValueError, "index must be from 1 to %zu, not %zd", stages_max - 1, index);
  if (PyCallable_Check(target) == 0 || (guard != Py_None && PyCallable_Check(guard) == 0) ||
      (measured != Py_None && PyCallable_Check(measured) == 0))
    return PyErr_Format(PyExc_TypeError, "target must be callable, guard and measured callable or None");

  if (self->sealed || static_cast<std::size_t>(index) <= self->index_of(self->best)) Py_RETURN_FALSE;
  stage_entry& stage = self->stages[static_cast<std::size_t>(index)];
  stage.target = Py_NewRef(target);
  stage.set_guard(guard == Py_None ? nullptr : guard);
  stage.boxed = boxed != 0;
  stage_entry* replaced = self->current.exchange(&stage, std::memory_order_acq_rel);
  const bool may_go_back = measured != Py_None;
  stage_entry* older = std::exchange(self->before, may_go_back ? replaced : nullptr);
  self->best = &stage;
  Py_XSETREF(self->measured, may_go_back ? Py_NewRef(measured) : nullptr);
  if (older != nullptr) drop(self, *older);
  if (!may_go_back) drop(self, *replaced);
  Py_RETURN_TRUE;
}

// Takes what the slot could go back to from the stage with that index; null, with or without an exception set, when
// it cannot.
stage_entry* take_before(slot_object* self, PyObject* index) {
  const Py_ssize_t i = PyLong_AsSsize_t(index);
  if (i < 0 || static_cast<std::size_t>(i) != self->index_of(self->current.load(std::memory_order_relaxed)))
    return nullptr;
  Py_CLEAR(self->measured);
  return std::exchange(self->before, nullptr);
}

PyObject* slot_keep(PyObject* o, PyObject* index) {
  slot_object* self = as_slot(o);
  if (stage_entry* before = take_before(self, index)) drop(self, *before);
  if (PyErr_Occurred() != nullptr) return nullptr;
  Py_RETURN_NONE;
}

PyObject* slot_roll_back(PyObject* o, PyObject* index) {
  slot_object* self = as_slot(o);
  stage_entry* before = take_before(self, index);
  if (PyErr_Occurred() != nullptr) return nullptr;
  if (before == nullptr) Py_RETURN_FALSE;
  drop(self, *self->current.exchange(before, std::memory_order_acq_rel));
  Py_RETURN_TRUE;
}

PyObject* slot_at_call(PyObject* o, PyObject* args) {
  slot_object* self = as_slot(o);
  unsigned long long number = 0;
  PyObject* due = nullptr;
  if (PyArg_ParseTuple(args, "KO:at_call", &number, &due) == 0) return nullptr;
  if (PyCallable_Check(due) == 0) return PyErr_Format(PyExc_TypeError, "due must be callable");
  if (self->calls() > number) Py_RETURN_FALSE;
  self->due_at = number;
  Py_XSETREF(self->due, Py_NewRef(due));
  self->vectorcall = slot_vectorcall_until_due;
  Py_RETURN_TRUE;
}

PyObject* slot_forget_call(PyObject* o, PyObject*) {
  forget_due(as_slot(o));
  Py_RETURN_NONE;
}

PyObject* slot_retreat(PyObject* o, PyObject*) {
  slot_object* self = as_slot(o);
  stage_entry& eager = self->stages[0];
  if (eager.target == nullptr) Py_RETURN_FALSE;
  self->sealed = true;
  self->before = nullptr;
  Py_CLEAR(self->measured);
  self->current.store(&eager, std::memory_order_release);
  for (stage_entry& stage : self->stages) {
    if (&stage != &eager) stage.clear();
  }
  Py_RETURN_TRUE;
}

PyObject* slot_seal(PyObject* o, PyObject*) {
  slot_object* self = as_slot(o);
  self->sealed = true;
  stage_entry& eager = self->stages[0];
  if (self->current.load(std::memory_order_relaxed) != &eager && self->before != &eager) drop(self, eager);
  Py_RETURN_NONE;
}

PyObject* slot_name_spans(PyObject* o, PyObject* names) {
  if (PyTuple_CheckExact(names) == 0) return PyErr_Format(PyExc_TypeError, "names must be a tuple");
  Py_XSETREF(as_slot(o)->span_names, Py_NewRef(names));
  Py_RETURN_NONE;
}

PyObject* slot_deepcopy(PyObject* o, PyObject*) {
  return Py_NewRef(o);
}

PyObject* slot_reduce(PyObject*, PyObject*) {
  PyErr_SetString(
      PyExc_TypeError,
      "a compiled graph of fxfarm cannot be pickled: it belongs to this process; pickle the model it was made "
      "from and call torch.compile again");
  return nullptr;
}

PyObject* slot_stage(PyObject* o, void*) {
  slot_object* self = as_slot(o);
  return PyLong_FromSize_t(self->index_of(self->current.load(std::memory_order_relaxed)));
}

// Counts up to the highest stage that was ever published.
PyObject* slot_runs(PyObject* o, void*) {
  slot_object* self = as_slot(o);
  std::size_t count = self->index_of(self->best) + 1;
  owned list{PyList_New(static_cast<Py_ssize_t>(count))};
  if (!list) return nullptr;
  for (std::size_t i = 0; i < count; ++i) {
    PyObject* runs = PyLong_FromUnsignedLongLong(self->stages[i].runs.load(std::memory_order_relaxed));
    if (runs == nullptr) return nullptr;
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), runs);
  }
  return list.release();
}

PyObject* slot_call_seconds(PyObject* o, PyObject* index) {
  const Py_ssize_t i = PyLong_AsSsize_t(index);
  if (i == -1 && PyErr_Occurred() != nullptr) return nullptr;
  if (i < 0 || static_cast<std::size_t>(i) >= stages_max)
    return PyErr_Format(PyExc_ValueError, "index must be from 0 to %zu, not %zd", stages_max - 1, i);
  const call_times& times = as_slot(o)->stages[static_cast<std::size_t>(i)].times;
  owned list{PyList_New(times.end() - times.begin())};
  if (!list) return nullptr;
  for (const float* took = times.begin(); took != times.end(); ++took) {
    PyObject* seconds = PyFloat_FromDouble(static_cast<double>(*took));
    if (seconds == nullptr) return nullptr;
    PyList_SET_ITEM(list.get(), took - times.begin(), seconds);
  }
  return list.release();
}

PyObject* slot_calls(PyObject* o, void*) {
  return PyLong_FromUnsignedLongLong(as_slot(o)->calls());
}

PyObject* slot_guard_misses(PyObject* o, void*) {
  return PyLong_FromUnsignedLongLong(as_slot(o)->guard_misses.load(std::memory_order_relaxed));
}

PyObject* slot_name(PyObject* o, void*) {
  return Py_NewRef(as_slot(o)->name);
}

PyObject* slot_repr(PyObject* o) {
  slot_object* self = as_slot(o);
  return PyUnicode_FromFormat("<fxfarm slot %R at stage %zu>", self->name,
                              self->index_of(self->current.load(std::memory_order_relaxed)));
}

PyObject* retired_runs(PyObject*, PyObject*) {
  const auto runs = slots().retired();
  return Py_BuildValue("KK", static_cast<unsigned long long>(runs.eager),
                       static_cast<unsigned long long>(runs.compiled));
}

PyMethodDef slot_methods[] = {
    {"publish", as_method(slot_publish), METH_VARARGS | METH_KEYWORDS,
     "publish(index, target, boxed=False, guard=None, measured=None) -> bool\n\nMakes `target` what calls run from now "
     "on. False, without effect, when the slot has had that stage or a better one, or is sealed. `measured`: what it "
     "replaces stays for roll_back(), and this is called, in the caller's thread, when enough calls have been timed."},
    {"keep", slot_keep, METH_O, "keep(index)\n\nFrees the stage that roll_back(index) would go back to."},
    {"roll_back", slot_roll_back, METH_O,
     "roll_back(index) -> bool\n\nMakes calls run the stage that the one with this index has replaced, and frees it. "
     "False, without effect, when it is not the current one or nothing was kept."},
    {"call_seconds", slot_call_seconds, METH_O,
     "call_seconds(index) -> list[float]\n\nHow long the latest timed calls of a stage took, in no order."},
    {"at_call", slot_at_call, METH_VARARGS,
     "at_call(number, due) -> bool\n\nHas due() called before the call with that number, from 0, in its thread and in "
     "place of what was due before. False, without effect, when that call has begun."},
    {"forget_call", slot_forget_call, METH_NOARGS, "forget_call()\n\nNothing is due any longer."},
    {"retreat", slot_retreat, METH_NOARGS,
     "retreat() -> bool\n\nMakes calls run eager for good, and frees every other stage. False, without effect, when "
     "eager's callable has been freed."},
    {"seal", slot_seal, METH_NOARGS,
     "seal()\n\nNo better stage will come. Frees eager's callable unless a guard may still need it."},
    {"name_spans", slot_name_spans, METH_O,
     "name_spans(names)\n\nWhat calls of each stage, eager first, are called in a profile: a tuple of texts."},
    {"__deepcopy__", slot_deepcopy, METH_O, nullptr},
    {"__copy__", slot_deepcopy, METH_NOARGS, nullptr},
    {"__reduce__", slot_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyMethodDef module_functions[] = {{"retired_runs", retired_runs, METH_NOARGS,
                                   "retired_runs() -> (eager, compiled)\n\nRuns of the slots that have been freed."},
                                  {nullptr, nullptr, 0, nullptr}};

PyGetSetDef slot_attributes[] = {
    {"stage", slot_stage, nullptr, "Index of the stage that calls run; 0 is eager.", nullptr},
    {"runs", slot_runs, nullptr, "Runs of each stage, up to the current one.", nullptr},
    {"calls", slot_calls, nullptr, "How many calls have begun.", nullptr},
    {"guard_misses", slot_guard_misses, nullptr, "Calls that ran eager since their arguments did not fit.", nullptr},
    {"__name__", slot_name, nullptr, nullptr, nullptr},
    {"__qualname__", slot_name, nullptr, nullptr, nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

// The interpreter finds these three by offset.
PyMemberDef slot_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(slot_object, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(slot_object, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(slot_object, weak_references), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot type_slots[] = {
    {Py_tp_new, as_type_slot(slot_new)},
    {Py_tp_dealloc, as_type_slot(slot_dealloc)},
    {Py_tp_traverse, as_type_slot(slot_traverse)},
    {Py_tp_clear, as_type_slot(slot_clear)},
    {Py_tp_call, as_type_slot(PyVectorcall_Call)},
    {Py_tp_repr, as_type_slot(slot_repr)},
    {Py_tp_methods, slot_methods},
    {Py_tp_getset, slot_attributes},
    {Py_tp_members, slot_members},
    {Py_tp_doc, const_cast<char*>("Slot(eager, name='fxfarm_slot')\n\nCalls the best stage published "
                                  "so far; eager until then.")},
    {0, nullptr}};

PyType_Spec type_spec = {
    "fxfarm._core.Slot", sizeof(slot_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE, type_slots};

}  // namespace

call_counts count_calls() {
  return slots().all();
}

int add_slot_type(PyObject* module) {
  static const int no_fork_handler = pthread_atfork(nullptr, nullptr, [] { slots().renew_lock(); });
  if (no_fork_handler != 0) {
    PyErr_NoMemory();
    return -1;
  }
  owned type{PyType_FromModuleAndSpec(module, &type_spec, nullptr)};
  if (!type || PyModule_AddObjectRef(module, "Slot", type.get()) < 0 || add_profiler_watch(module) < 0) return -1;
  return PyModule_AddFunctions(module, module_functions);
}

}  // namespace fxfarm::python
