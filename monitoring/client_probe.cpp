// What a client counts, and the families that it goes to.
#include "monitoring/families.hpp"
#include "monitoring/metrics.hpp"

namespace fxfarm::monitoring {

struct client_probe::impl {
  explicit impl(family_book& b) : book(b) {}

  family_book& book;
  histograms switches{book,
                      {"fxfarm_client_request_to_switch_seconds",
                       "Time from this process's request to running the stage.",
                       {"stage"},
                       "client_request_to_switch_seconds"},
                      {{"default"}}};
  histograms loads{
      book,
      {"fxfarm_client_load_seconds", "Time of loading an artifact here.", {"stage"}, "client_load_seconds"},
      {{"default"}}};
  counters failed{
      book,
      {"fxfarm_client_stages_failed_total", "Stages that will not come.", {"stage", "code"}, "client_stages_failed"},
      {{"default", "load_failed"}}};
  counters rolled_back{book,
                       {"fxfarm_client_stages_rolled_back_total",
                        "Stages taken back since they were slower than what they replaced.",
                        {"stage"},
                        "client_stages_rolled_back"},
                       {{"default"}}};
};

client_probe::client_probe(family_book& book) : impl_(std::make_unique<impl>(book)) {}
client_probe::~client_probe() = default;

void client_probe::switched(std::string_view stage, double seconds) {
  impl_->switches.at({stage}).Observe(seconds);
}
void client_probe::load_took(std::string_view stage, double seconds) {
  impl_->loads.at({stage}).Observe(seconds);
}
void client_probe::stage_failed(std::string_view stage, std::string_view code) {
  impl_->failed.at({stage, code}).Increment();
}
void client_probe::rolled_back(std::string_view stage) {
  impl_->rolled_back.at({stage}).Increment();
}

}  // namespace fxfarm::monitoring
