// An artifact's file that somebody else may have written: its digest may be right and its lengths wrong.

#include "fuzz.hpp"
#include "runtime/store_file.hpp"

using namespace fxfarm;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::input in(data, size);
  const std::string key(64, 'a');
  const auto head = in.take(in.number());
  const bytes rest(in.rest().begin(), in.rest().end());
  if (head.size() >= store_file_fixed_bytes) (void)look_at_store_file_head(head);
  auto joined = join_store_file(key, head, rest);
  if (!joined) return 0;
  fuzz::require(*joined->data == rest, "the data is what came");
  const auto again = store_file_head(key, *joined);
  fuzz::require(again.ok() && join_store_file(key, *again, rest).ok(), "what was read can be written");
  return 0;
}
