#pragma once
// All messages of the wire. Each is declared once, beside those of the same pair of roles; here is how, and the list.
//
// A message is a struct with a tag and one function that names its fields; the codec does the rest. On the wire:
// {"type": tag, "body": {field: value, ...}} and, when bytes follow in a stream, "attachment": {"stream": id, "size":
// bytes, "digest": hex}, or, when they are few, "attachment": {"digest": hex, "data": bytes}. Unknown fields are
// ignored, missing ones keep the defaults that stand in the struct.
//
// docs/reference/wire.md tells the order in which they are exchanged.

#include "net/client_messages.hpp"
#include "net/link_messages.hpp"
#include "net/operator_messages.hpp"
#include "net/worker_messages.hpp"

#include <string_view>
#include <variant>

namespace fxfarm::net {

template <class T>
concept has_fields = requires(T& value) {
  T::fields(value, [](std::string_view, auto&) {});
};

using message = std::variant<hello, welcome, heartbeat, goodbye, rejected, chunk, credit, stream_abort,  // link
                             lookup, need_graph, submit, stage_progress, stage_ready, stage_failed, release, switched,
                             stage_armed, switch_proposed, switch_vote, switch_decided, worker_offer, job, job_held,
                             job_alive, job_done, job_failed, kernel_wanted, kernel_made, kernel_unmade, cancel_job,
                             set_drain, keep_worker, ask, answer>;

}  // namespace fxfarm::net
