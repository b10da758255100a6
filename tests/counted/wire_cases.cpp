// Messages to bytes and back: what every lookup and every answer goes through at both ends.

#include "hot_path.hpp"
#include "net/codec.hpp"

namespace fxfarm::counted {
namespace {

net::message a_lookup() {
  net::lookup m;
  m.graph_key = hex64(1);
  m.name = "GPT2Model.forward/0";
  m.stages = {{"default", {{"cpp.simdlen", "8"}}},
              {"max-autotune", {{"max_autotune", "true"}, {"coordinate_descent_tuning", "true"}}}};
  m.target.torch = "2.13.0+cpu";
  m.target.python = "3.11";
  m.space = "default";
  m.graph_bytes = 30'000;
  m.parts = {{"code", hex64(2)}, {"inputs", hex64(3)}, {"options", hex64(4)}, {"torch", hex64(5)}};
  return m;
}

net::message an_answer() {
  net::stage_ready m;
  m.graph_key = hex64(1);
  m.stage_key = hex64(2);
  m.source = "memory";
  m.phases = {{"compile", 1.5}, {"lower", 0.5}, {"pack", 0.25}};
  m.signature = {hex64(3), hex64(4) + hex64(5)};
  return m;
}

template <net::message (*make)()>
class encoding final : public hot_path {
public:
  void once() override { done_ += net::encode(message_).empty() ? 0 : 1; }
  std::size_t done() const override { return done_; }

private:
  const net::message message_ = make();
  std::size_t done_ = 0;
};

template <net::message (*make)()>
class decoding final : public hot_path {
public:
  void once() override {
    const auto got = net::decode(frame_);
    done_ += got && got->content.index() == message_.index() ? 1 : 0;
  }
  std::size_t done() const override { return done_; }

private:
  const net::message message_ = make();
  const bytes frame_ = net::encode(message_);
  std::size_t done_ = 0;
};

}  // namespace

std::vector<counted_case> wire_cases() {
  return {{"encode_lookup", 1'000, made<encoding<a_lookup>>},
          {"decode_lookup", 1'000, made<decoding<a_lookup>>},
          {"encode_answer", 1'000, made<encoding<an_answer>>},
          {"decode_answer", 1'000, made<decoding<an_answer>>}};
}

}  // namespace fxfarm::counted
