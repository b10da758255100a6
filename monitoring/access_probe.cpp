// Who may come in.
#include "monitoring/families.hpp"
#include "monitoring/metrics.hpp"

namespace fxfarm::monitoring {

struct access_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  gauges keys{book, {"fxfarm_authorized_keys", "Authorized keys in force.", {}, "authorized_keys_now"}};
  gauges signers{book, {"fxfarm_signers", "Signers whose artifacts are accepted.", {}, "signers_now"}};
  counters reads{book,
                 {"fxfarm_authorized_keys_reads_total",
                  "How often the file of authorized keys had changed, and whether it could be used.",
                  {"outcome"},
                  "authorized_keys_reads",
                  0},
                 {{"loaded"}, {"refused"}}};
};

access_probe::access_probe(family_book& book) : impl_(std::make_unique<impl>(book)) {}
access_probe::~access_probe() = default;

void access_probe::keys_now(double count) {
  impl_->keys.at({}).Set(count);
}
void access_probe::signers_now(double count) {
  impl_->signers.at({}).Set(count);
}
void access_probe::keys_read(bool well) {
  impl_->reads.at({well ? "loaded" : "refused"}).Increment();
}

}  // namespace fxfarm::monitoring
