#include "python/binding/slot_call.hpp"

#include "python/binding/owned.hpp"
#include "python/binding/profiler_watch.hpp"
#include "python/binding/slot_object.hpp"

#include <chrono>
#include <utility>

namespace fxfarm::python {
namespace {

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
guard_answer ask_python(PyObject* guard, PyObject* const* args, std::size_t flagged_count, PyObject* keywords) {
  owned held{Py_NewRef(guard)};
  owned answer{PyObject_Vectorcall(held.get(), args, flagged_count, keywords)};
  int truth = answer ? PyObject_IsTrue(answer.get()) : -1;
  if (truth >= 0) return truth == 1 ? guard_answer::fits : guard_answer::misses;
  if (!PyErr_ExceptionMatches(PyExc_Exception)) return guard_answer::raised;
  PyErr_Clear();
  return guard_answer::misses;
}

guard_answer ask_guard(const stage_entry& stage, PyObject* const* args, std::size_t flagged_count, PyObject* keywords) {
  if (stage.integers != nullptr) {
    const auto count = static_cast<std::size_t>(PyVectorcall_NARGS(flagged_count));
    if (const auto fits = stage.integers->fits(args, count)) return *fits ? guard_answer::fits : guard_answer::misses;
  }
  return ask_python(stage.guard, args, flagged_count, keywords);
}

PyObject* run_guarded(slot_object* self, stage_entry& stage, PyObject* const* args, std::size_t flagged_count,
                      PyObject* keywords) {
  // The guard may run Python and with it a publish in another thread: the answer is about the target that was asked
  // for.
  owned target{Py_NewRef(stage.target)};
  switch (ask_guard(stage, args, flagged_count, keywords)) {
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

}  // namespace

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

}  // namespace fxfarm::python
