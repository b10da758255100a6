#include "python/binding/slot.hpp"

#include "python/binding/call_times.hpp"
#include "python/binding/profiler_watch.hpp"
#include "runtime/limits.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_set>
#include <utility>

#include <pthread.h>
#include <structmember.h>

namespace fxfarm::python {
namespace {

// Stage 0 is eager.
constexpr std::size_t stages_max = limits::stages_per_graph_max + 1;

struct owned_deleter {
  void operator()(PyObject* o) const { Py_DECREF(o); }
};
using owned = std::unique_ptr<PyObject, owned_deleter>;

// One stage's callables. Lives as long as its slot, so that its count does; the callables go when a better stage comes.
struct stage_entry {
  PyObject* target = nullptr;
  PyObject* guard = nullptr;  // null: always fits
  bool boxed = false;
  std::atomic<std::uint64_t> runs{0};
  call_times times;

  // The number of this run, from 0. Writers hold the interpreter lock, so that an increment needs no locked
  // instruction.
  std::uint64_t count() {
    const auto number = runs.load(std::memory_order_relaxed);
    runs.store(number + 1, std::memory_order_relaxed);
    return number;
  }
  void clear() {
    Py_CLEAR(guard);
    Py_CLEAR(target);
  }
};

// Ownership across threads: a call takes its own reference to the target before anything can release the interpreter
// lock, so a publish in another thread frees the old target only after the last call in it has ended.
struct slot_object {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* dict;
  PyObject* weak_references;
  PyObject* name;
  PyObject* span_names;  // a tuple, of each stage's calls in a profile; null: none
  std::atomic<stage_entry*> current;
  stage_entry* best;    // ever published
  stage_entry* before;  // what `current` has replaced, while it may be rolled back; null: it may not
  PyObject* measured;   // called once it can be compared with `before`; null: has been called
  std::atomic<std::uint64_t> guard_misses;
  std::uint64_t due_at;  // the number of the call before which `due` is called
  PyObject* due;         // null: nothing is
  bool sealed;
  std::array<stage_entry, stages_max> stages;

  std::size_t index_of(const stage_entry* e) const { return static_cast<std::size_t>(e - stages.data()); }
  // How many calls have begun.
  std::uint64_t calls() const {
    std::uint64_t sum = 0;
    for (const stage_entry& stage : stages) sum += stage.runs.load(std::memory_order_relaxed);
    return sum;
  }
};

call_counts runs_of(const slot_object& slot) {
  const auto eager = slot.stages[0].runs.load(std::memory_order_relaxed);
  return {eager, slot.calls() - eager};
}

// All slots, and the runs of those that are gone, so that totals survive a model that is dropped. It is never
// destroyed, since slots may outlive static objects.
class slot_register {
public:
  void add(const slot_object* slot) {
    std::lock_guard lock(mutex_);
    living_.insert(slot);
  }
  void retire(const slot_object* slot) {
    std::lock_guard lock(mutex_);
    if (living_.erase(slot) > 0) add_to(retired_, runs_of(*slot));
  }
  call_counts retired() const {
    std::lock_guard lock(mutex_);
    return retired_;
  }
  call_counts all() const {
    std::lock_guard lock(mutex_);
    call_counts sum = retired_;
    for (const auto* slot : living_) add_to(sum, runs_of(*slot));
    return sum;
  }
  // In the child of a fork: a thread of the parent's that was counting may have held the lock. Nobody was changing the
  // set, since that takes the interpreter lock, which whoever forks has.
  void renew_lock() { std::construct_at(&mutex_); }

private:
  static void add_to(call_counts& sum, const call_counts& more) {
    sum.eager += more.eager;
    sum.compiled += more.compiled;
  }

  mutable std::mutex mutex_;  // guards what follows
  std::unordered_set<const slot_object*> living_;
  call_counts retired_;
};

slot_register& slots() {
  static auto* made = new slot_register;
  return *made;
}

slot_object* as_slot(PyObject* o) {
  return reinterpret_cast<slot_object*>(o);
}

PyObject* invoke(PyObject* target, bool boxed, PyObject* const* args, std::size_t flagged_count, PyObject* keywords) {
  if (!boxed) return PyObject_Vectorcall(target, args, flagged_count, keywords);
  if (keywords != nullptr && PyTuple_GET_SIZE(keywords) != 0) {
    PyErr_SetString(PyExc_TypeError, "this stage takes no keyword arguments");
    return nullptr;
  }
  Py_ssize_t count = PyVectorcall_NARGS(flagged_count);
  owned list{PyList_New(count)};
  if (!list) return nullptr;
  for (Py_ssize_t i = 0; i < count; ++i) PyList_SET_ITEM(list.get(), i, Py_NewRef(args[i]));
  return PyObject_CallOneArg(target, list.get());
}

// Once for each stage that may be rolled back.
void tell_measured(slot_object* self, const stage_entry& stage) {
  if (&stage != self->current.load(std::memory_order_relaxed)) return;
  owned measured{std::exchange(self->measured, nullptr)};
  if (!measured) return;
  owned answer{PyObject_CallNoArgs(measured.get())};
  if (!answer) PyErr_WriteUnraisable(measured.get());
}

PyObject* run_timed(slot_object* self, stage_entry& stage, PyObject* target, PyObject* const* args,
                    std::size_t flagged_count, PyObject* keywords) {
  const auto begin = std::chrono::steady_clock::now();
  owned result{invoke(target, stage.boxed, args, flagged_count, keywords)};
  if (!result) return nullptr;
  stage.times.add(std::chrono::steady_clock::now() - begin);
  if (stage.times.count() == call_times::enough) tell_measured(self, stage);
  return result.release();
}

PyObject* run_in_span(slot_object* self, const stage_entry& stage, PyObject* target, PyObject* const* args,
                      std::size_t flagged_count, PyObject* keywords) {
  const auto index = static_cast<Py_ssize_t>(self->index_of(&stage));
  const bool named = self->span_names != nullptr && index < PyTuple_GET_SIZE(self->span_names);
  profiler_span span(named ? PyTuple_GET_ITEM(self->span_names, index) : self->name);
  return invoke(target, stage.boxed, args, flagged_count, keywords);
}

// A call in a profile is not timed, since it takes longer than others.
PyObject* run_stage(slot_object* self, stage_entry& stage, PyObject* target, PyObject* const* args,
                    std::size_t flagged_count, PyObject* keywords) {
  const auto number = stage.count();
  if (profiler_runs()) [[unlikely]]
    return run_in_span(self, stage, target, args, flagged_count, keywords);
  if (call_times::due(number)) return run_timed(self, stage, target, args, flagged_count, keywords);
  return invoke(target, stage.boxed, args, flagged_count, keywords);
}

enum class guard_answer { fits, misses, raised };

// A guard that fails is a miss; what is no Exception (KeyboardInterrupt, SystemExit) is the caller's.
guard_answer ask_guard(PyObject* guard, PyObject* const* args, std::size_t flagged_count, PyObject* keywords) {
  owned held{Py_NewRef(guard)};
  owned answer{PyObject_Vectorcall(held.get(), args, flagged_count, keywords)};
  int truth = answer ? PyObject_IsTrue(answer.get()) : -1;
  if (truth >= 0) return truth == 1 ? guard_answer::fits : guard_answer::misses;
  if (!PyErr_ExceptionMatches(PyExc_Exception)) return guard_answer::raised;
  PyErr_Clear();
  return guard_answer::misses;
}

PyObject* run_guarded(slot_object* self, stage_entry& stage, PyObject* const* args, std::size_t flagged_count,
                      PyObject* keywords) {
  // The guard may run Python and with it a publish in another thread: the answer is about the target that was asked
  // for.
  owned target{Py_NewRef(stage.target)};
  switch (ask_guard(stage.guard, args, flagged_count, keywords)) {
    case guard_answer::raised:
      return nullptr;
    case guard_answer::fits:
      return run_stage(self, stage, target.get(), args, flagged_count, keywords);
    case guard_answer::misses:
      break;
  }
  self->guard_misses.fetch_add(1, std::memory_order_relaxed);
  // Eager is gone only when the slot was sealed under a stage that fits all arguments. Not timed: these calls are
  // unlike those that the stages are compared by.
  stage_entry& instead = self->stages[0].target != nullptr ? self->stages[0] : *self->current.load();
  instead.count();
  owned other{Py_NewRef(instead.target)};
  if (profiler_runs()) return run_in_span(self, instead, other.get(), args, flagged_count, keywords);
  return invoke(other.get(), instead.boxed, args, flagged_count, keywords);
}

PyObject* slot_vectorcall(PyObject* callable, PyObject* const* args, std::size_t flagged_count, PyObject* keywords) {
  slot_object* self = as_slot(callable);
  stage_entry* stage = self->current.load(std::memory_order_acquire);
  if (stage->guard != nullptr) return run_guarded(self, *stage, args, flagged_count, keywords);
  owned target{Py_NewRef(stage->target)};
  return run_stage(self, *stage, target.get(), args, flagged_count, keywords);
}

void forget_due(slot_object* self) {
  self->vectorcall = slot_vectorcall;
  Py_CLEAR(self->due);
}

// In the place of slot_vectorcall while something is due, so that other calls need not look.
PyObject* slot_vectorcall_until_due(PyObject* callable, PyObject* const* args, std::size_t flagged_count,
                                    PyObject* keywords) {
  slot_object* self = as_slot(callable);
  if (self->due != nullptr && self->calls() >= self->due_at) {
    owned due{Py_NewRef(self->due)};
    forget_due(self);
    owned answer{PyObject_CallNoArgs(due.get())};
    if (!answer) {
      if (!PyErr_ExceptionMatches(PyExc_Exception)) return nullptr;
      PyErr_WriteUnraisable(due.get());
    }
  }
  return slot_vectorcall(callable, args, flagged_count, keywords);
}

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
    Py_CLEAR(stage.guard);
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
  stage.guard = guard == Py_None ? nullptr : Py_NewRef(guard);
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

template <class F>
PyCFunction as_method(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
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

template <class F>
void* as_slot_function(F f) {
  return reinterpret_cast<void*>(f);
}

PyType_Slot type_slots[] = {
    {Py_tp_new, as_slot_function(slot_new)},
    {Py_tp_dealloc, as_slot_function(slot_dealloc)},
    {Py_tp_traverse, as_slot_function(slot_traverse)},
    {Py_tp_clear, as_slot_function(slot_clear)},
    {Py_tp_call, as_slot_function(PyVectorcall_Call)},
    {Py_tp_repr, as_slot_function(slot_repr)},
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
