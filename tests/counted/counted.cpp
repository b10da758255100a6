// Counts what hot paths take for one operation: allocations itself, instructions where callgrind runs it.
//   fxfarm_counted --made-by    prints the compiler and the kind of build
//   fxfarm_counted [CASE...]
// prints "CASE operations allocations bytes", the last two of all its operations together. Under
// valgrind --tool=callgrind --instr-atstart=no each case is a dump of its own, triggered by its name.

#include "hot_path.hpp"
#include "runtime/text_map.hpp"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <new>
#include <span>

#ifdef FXFARM_CALLGRIND
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name) (void)(name)
#define CALLGRIND_STOP_INSTRUMENTATION
#endif

namespace {

// There is one thread.
struct {
  std::size_t calls = 0;
  std::size_t bytes = 0;
} allocated;

void* counted_new(std::size_t size, std::size_t alignment) {
  ++allocated.calls;
  allocated.bytes += size;
  void* got = alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__
                  ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
                  : std::malloc(size == 0 ? 1 : size);
  if (!got) throw std::bad_alloc();
  return got;
}

}  // namespace

// The standard library makes all other forms of these.
void* operator new(std::size_t size) {
  return counted_new(size, 0);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted_new(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* what) noexcept {
  std::free(what);
}
void operator delete(void* what, std::size_t) noexcept {
  std::free(what);
}
void operator delete(void* what, std::align_val_t) noexcept {
  std::free(what);
}
void operator delete(void* what, std::size_t, std::align_val_t) noexcept {
  std::free(what);
}

namespace fxfarm::counted {
namespace {

std::vector<counted_case> all_cases() {
  std::vector<counted_case> all;
  for (auto* cases : {wire_cases, store_cases, scheduler_cases, coordinator_cases, monitoring_cases}) {
    for (const auto& one : cases()) all.push_back(one);
  }
  return all;
}

// False when the path did not do what it is for.
bool count(const counted_case& one) {
  const auto path = one.make();
  for (std::size_t i = 0; i < one.operations; ++i) path->once();
  const auto done_before = path->done();
  const std::string name(one.name);
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
  const auto before = allocated;
  for (std::size_t i = 0; i < one.operations; ++i) path->once();
  const auto after = allocated;
  CALLGRIND_DUMP_STATS_AT(name.c_str());
  CALLGRIND_STOP_INSTRUMENTATION;
  const auto done = path->done() - done_before;
  if (done != one.operations) {
    std::fprintf(stderr, "%s: was done %zu times in %zu operations\n", name.c_str(), done, one.operations);
    return false;
  }
  std::printf("%s %zu %zu %zu\n", name.c_str(), one.operations, after.calls - before.calls, after.bytes - before.bytes);
  return true;
}

int run(std::span<char*> wanted) {
  if (wanted.size() == 1 && wanted.front() == std::string_view("--made-by")) {
    std::puts(FXFARM_MADE_BY);
    return 0;
  }
  const auto cases = all_cases();
  for (const std::string_view name : wanted) {
    if (std::none_of(cases.begin(), cases.end(), [&](const auto& one) { return one.name == name; })) {
      std::fprintf(stderr, "no case is called %s\n", name.data());
      return 2;
    }
  }
  bool well = true;
  for (const auto& one : cases) {
    const bool is_wanted = wanted.empty() || std::find(wanted.begin(), wanted.end(), one.name) != wanted.end();
    if (is_wanted) well = count(one) && well;
  }
  return well ? 0 : 1;
}

}  // namespace
}  // namespace fxfarm::counted

int main(int argc, char** argv) {
  try {
    fxfarm::text_hash::fix_seed_of_process({});  // so that what shares a place in a map does so in each run
    return fxfarm::counted::run(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "fxfarm_counted: %s\n", e.what());
    return 1;
  }
}
