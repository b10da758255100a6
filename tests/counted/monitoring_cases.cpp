// What counting itself takes.

#include "hot_path.hpp"
#include "monitoring/metrics.hpp"

namespace fxfarm::counted {
namespace {

class counting : public hot_path {
public:
  std::size_t done() const override { return done_; }

protected:
  monitoring::coordinator_probe& probe() { return probe_; }
  std::size_t done_ = 0;

private:
  monitoring::metrics metrics_{"1.2.3", "coordinator"};
  monitoring::coordinator_probe& probe_ = metrics_.coordinator();
};

class plain_counter final : public counting {
public:
  void once() override {
    probe().lookup_received();
    ++done_;
  }
};

// Another child of the family each time.
class labelled_counter final : public counting {
public:
  void once() override { probe().stage_served(++done_ % 2 == 0 ? "memory" : "job", 256); }
};

class labelled_histogram final : public counting {
public:
  void once() override {
    static constexpr std::string_view steps[] = {"prepare", "farm", "load"};
    probe().switch_step("default", steps[++done_ % 3], 0.1);
  }
};

}  // namespace

std::vector<counted_case> monitoring_cases() {
  return {{"counter", 2'000, made<plain_counter>},
          {"counter_with_a_label", 2'000, made<labelled_counter>},
          {"histogram_with_labels", 2'000, made<labelled_histogram>}};
}

}  // namespace fxfarm::counted
