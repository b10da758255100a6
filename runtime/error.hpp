#pragma once
// Expected failures are values: a code from one enum, a message, and context that is added on the way up.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace fxfarm {

// What went wrong, in words that reach users, metrics labels and the wire. Names are stable; see to_string.
enum class errc : std::uint8_t {
  none = 0,        // 0 means "no error", as CAF and std::error_code have it
  bad_input,       // a caller's or peer's argument is outside what is allowed
  bad_config,      // an option is unknown or has a bad value
  io,              // the operating system refused a file, socket or process operation
  not_found,       // the named thing does not exist
  corrupt,         // bytes do not match their digest or format
  too_large,       // a named bound would be passed
  busy,            // a queue is full; try again later
  no_worker,       // no worker fits the platform that a job needs
  timeout,         // a deadline passed
  unreachable,     // the peer cannot be reached
  protocol,        // a peer broke the wire rules, or speaks another version
  refused,         // not allowed
  untrusted,       // nobody who is accepted has signed an artifact
  cancelled,       // nobody waits for it any longer
  engine_start,    // an engine could not be started or warmed
  engine_crashed,  // an engine died during a job
  compile_failed,  // the compiler itself reported an error
  deadline,        // a job ran past its wall-clock deadline
  memory,          // a job passed its memory limit
  quarantined,     // a graph has killed too many engines
  unserializable,  // a graph cannot be sent to the farm
  load_failed,     // an artifact could not be loaded in the client
  slower,          // a stage was slower than the one that it replaced
  shutdown,        // the other side is going away
  internal,        // an invariant of our own is broken
};

// "none", "bad_input", ...: used as a metrics label and on the wire.
std::string_view to_string(errc code);
// Inverse of to_string; `internal` for a text that is no code (a peer may be newer than we are).
errc errc_from_string(std::string_view text);

struct error {
  errc code = errc::internal;
  std::string message;

  // The same error, told from one level higher: "<context>: <message>".
  error with_context(std::string_view context) const& { return {code, std::string(context) + ": " + message}; }
};

// "code: message".
std::string to_string(const error& e);

// A value or the error that stood in its way. Reading the wrong side is a bug of the caller's.
template <class T>
class [[nodiscard]] result {
public:
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  result(error e) : state_(std::in_place_index<1>, std::move(e)) {}
  result(errc code, std::string message) : result(fxfarm::error{code, std::move(message)}) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const fxfarm::error& failure() const { return std::get<1>(state_); }

private:
  std::variant<T, fxfarm::error> state_;
};

// Success without a value, or an error.
template <>
class [[nodiscard]] result<void> {
public:
  result() = default;
  result(error e) : error_(std::move(e)), ok_(false) {}
  result(errc code, std::string message) : result(fxfarm::error{code, std::move(message)}) {}

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const fxfarm::error& failure() const { return error_; }

private:
  fxfarm::error error_{errc::none, {}};
  bool ok_ = true;
};

}  // namespace fxfarm
