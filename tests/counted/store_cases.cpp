// Where something is: an artifact in memory, and the coordinator of a key.

#include "hot_path.hpp"
#include "runtime/memory_store.hpp"
#include "runtime/rendezvous.hpp"

namespace fxfarm::counted {
namespace {

constexpr std::size_t artifacts = 1'000;

// The store as a coordinator's lookup asks it.
class memory_hit final : public hot_path {
public:
  memory_hit() {
    auto reporter = std::make_shared<const store_reporter>();
    std::vector<std::unique_ptr<store_tier>> tiers;
    tiers.push_back(std::make_unique<memory_store>(std::size_t{1} << 20, reporter));
    store_ = std::make_unique<store>(std::move(tiers), reporter);
    for (std::size_t i = 0; i < artifacts; ++i) {
      keys_.push_back(hex64(i));
      stored what;
      what.data = make_blob(bytes(256));
      what.phases = {{"compile", 1.5}, {"pack", 0.25}};
      (void)store_->put(keys_.back(), what);
    }
  }
  void once() override { done_ += store_->get_at_once(keys_[++at_ % artifacts]) ? 1 : 0; }
  std::size_t done() const override { return done_; }

private:
  std::unique_ptr<store> store_;
  std::vector<std::string> keys_;
  std::size_t at_ = 0, done_ = 0;
};

class choice final : public hot_path {
public:
  choice() {
    for (unsigned i = 0; i < 16; ++i) nodes_.push_back("tcp://coordinator-" + std::to_string(i) + ".farm:7070");
    for (std::size_t i = 0; i < 64; ++i) keys_.push_back(hex64(i));
  }
  void once() override { done_ += rendezvous_pick(keys_[++at_ % keys_.size()], nodes_).empty() ? 0 : 1; }
  std::size_t done() const override { return done_; }

private:
  std::vector<std::string> nodes_, keys_;
  std::size_t at_ = 0, done_ = 0;
};

}  // namespace

std::vector<counted_case> store_cases() {
  return {{"memory_hit", 2'000, made<memory_hit>}, {"rendezvous_of_16", 1'000, made<choice>}};
}

}  // namespace fxfarm::counted
