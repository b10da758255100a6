#include "actors/engine_frames.hpp"

#include "runtime/limits.hpp"

#include <msgpack.hpp>

namespace fxfarm::actors {
namespace {

using packer = msgpack::packer<msgpack::sbuffer>;

void pack_text(packer& p, std::string_view text) {
  p.pack_str(static_cast<std::uint32_t>(text.size()));
  p.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

void pack_bytes(packer& p, byte_view content) {
  const auto text = text_of(content);
  p.pack_bin(static_cast<std::uint32_t>(text.size()));
  p.pack_bin_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

void pack_platform(packer& p, const platform& what) {
  std::uint32_t count = 0;
  platform::fields(what, [&](std::string_view, const auto&) { ++count; });
  p.pack_map(count);
  platform::fields(what, [&](std::string_view name, const auto& value) {
    pack_text(p, name);
    if constexpr (std::is_integral_v<std::decay_t<decltype(value)>>) {
      p.pack(value);
    } else {
      pack_text(p, value);
    }
  });
}

bytes to_body(const msgpack::sbuffer& buffer) {
  auto view = view_of({buffer.data(), buffer.size()});
  return {view.begin(), view.end()};
}

// A map of an engine's, read field by field; the first thing that is wrong is kept.
class reader {
public:
  explicit reader(const msgpack::object& map, std::string where) : where_(std::move(where)) {
    if (map.type == msgpack::type::MAP) {
      map_ = &map.via.map;
    } else {
      fail("expected a map");
    }
  }

  std::string text(std::string_view name) {
    const auto* o = find(name, msgpack::type::STR);
    return o ? std::string(o->via.str.ptr, o->via.str.size) : std::string();
  }
  std::uint64_t number(std::string_view name) {
    const auto* o = find(name, msgpack::type::POSITIVE_INTEGER);
    return o ? o->via.u64 : 0;
  }
  blob binary(std::string_view name) {
    const auto* o = find(name, msgpack::type::BIN);
    if (!o) return nullptr;
    auto view = view_of({o->via.bin.ptr, o->via.bin.size});
    return make_blob({view.begin(), view.end()});
  }
  // Of a flag that need not be there.
  bool says(std::string_view name) {
    const auto* o = look_for(name);
    if (o && o->type != msgpack::type::BOOLEAN) fail(name, "of the wrong type");
    return o && o->type == msgpack::type::BOOLEAN && o->via.boolean;
  }
  double real(std::string_view name) {
    const auto* o = find(name, std::nullopt);
    if (!o) return 0;
    return as_real(*o, name);
  }
  std::map<std::string, double> reals(std::string_view name) {
    std::map<std::string, double> out;
    const auto* o = find(name, msgpack::type::MAP);
    if (!o) return out;
    for (const auto& [key, value] : std::span(o->via.map.ptr, o->via.map.size)) {
      if (key.type != msgpack::type::STR) {
        fail(name, "expected names");
        return out;
      }
      out.emplace(std::string(key.via.str.ptr, key.via.str.size), as_real(value, name));
    }
    return out;
  }
  platform machine(std::string_view name) {
    platform out;
    const auto* o = find(name, msgpack::type::MAP);
    if (!o) return out;
    reader inner(*o, where_ + "." + std::string(name));
    platform::fields(out, [&](std::string_view field, auto& value) {
      if constexpr (std::is_integral_v<std::decay_t<decltype(value)>>) {
        value = static_cast<std::decay_t<decltype(value)>>(inner.number(field));
      } else {
        value = inner.text(field);
      }
    });
    if (!inner.wrong_.empty()) fail(inner.wrong_);
    return out;
  }

  const std::string& wrong() const { return wrong_; }

private:
  const msgpack::object* look_for(std::string_view name) const {
    if (!map_) return nullptr;
    for (const auto& [key, value] : std::span(map_->ptr, map_->size)) {
      if (key.type == msgpack::type::STR && std::string_view(key.via.str.ptr, key.via.str.size) == name) return &value;
    }
    return nullptr;
  }
  const msgpack::object* find(std::string_view name, std::optional<msgpack::type::object_type> wanted) {
    if (!map_) return nullptr;
    const auto* value = look_for(name);
    if (value && (!wanted || value->type == *wanted)) return value;
    fail(name, value ? "of the wrong type" : "missing");
    return nullptr;
  }
  double as_real(const msgpack::object& o, std::string_view name) {
    switch (o.type) {
      case msgpack::type::FLOAT32:
      case msgpack::type::FLOAT64:
        return o.via.f64;
      case msgpack::type::POSITIVE_INTEGER:
        return static_cast<double>(o.via.u64);
      default:
        fail(name, "expected a number");
        return 0;
    }
  }
  void fail(std::string_view what) {
    if (wrong_.empty()) wrong_.append(where_).append(": ").append(what);
  }
  void fail(std::string_view field, std::string_view what) {
    if (wrong_.empty()) wrong_.append(where_).append(": ").append(field).append(": ").append(what);
  }

  std::string where_;
  const msgpack::object_map* map_ = nullptr;
  std::string wrong_;
};

error failure_of(reader& r) {
  auto code = errc_from_string(r.text("code"));
  auto reason = r.text("reason");
  reason.resize(std::min(reason.size(), limits::text_bytes_max));
  return {code, std::move(reason)};
}

result<engine_report> read_report(const msgpack::object& body) {
  reader r(body, "engine frame");
  const auto type = r.text("type");
  std::optional<engine_report> report;
  if (type == "hello") {
    report = engine_hello{static_cast<unsigned>(r.number("protocol")), r.machine("platform")};
  } else if (type == "ready") {
    report = engine_ready{r.machine("platform"), r.real("warm_seconds"), r.says("kernels")};
  } else if (type == "progress") {
    report = engine_progress{r.text("id"), r.text("phase")};
  } else if (type == "done") {
    report = engine_done{r.text("id"), r.binary("artifact"), r.reals("phases")};
  } else if (type == "failed") {
    auto id = r.text("id");
    report = engine_failed{std::move(id), failure_of(r)};
  } else if (type == "kernel") {
    report = engine_kernel_wanted{r.text("id"), r.text("kernel"), r.binary("source")};
  } else if (type == "fatal") {
    report = engine_fatal{failure_of(r)};
  }
  if (!r.wrong().empty()) return {errc::protocol, r.wrong()};
  if (!report) return {errc::protocol, "engine frame: unknown type '" + type + "'"};
  return *std::move(report);
}

}  // namespace

bytes encode_compile(const engine_job& job) {
  msgpack::sbuffer buffer(job.graph->size() + 4 * limits::KiB);
  packer p(buffer);
  p.pack_map(job.kernel ? 5 : 7);
  pack_text(p, "type");
  pack_text(p, job.kernel ? "compile_kernel" : "compile");
  pack_text(p, "id");
  pack_text(p, job.id);
  pack_text(p, "stage");
  p.pack_map(2);
  pack_text(p, "name");
  pack_text(p, job.stage.name);
  pack_text(p, "options");
  p.pack_map(static_cast<std::uint32_t>(job.stage.options.size()));
  for (const auto& [option, value] : job.stage.options) {
    pack_text(p, option);
    pack_text(p, value);
  }
  pack_text(p, "target");
  pack_platform(p, job.target);
  pack_text(p, job.kernel ? "source" : "graph");
  pack_bytes(p, *job.graph);
  if (job.kernel) return to_body(buffer);
  pack_text(p, "attempts");
  p.pack(job.attempts);
  pack_text(p, "kernels_elsewhere");
  p.pack(job.kernels_elsewhere);
  return to_body(buffer);
}

bytes encode_kernel_answer(const engine_kernel_answer& answer) {
  msgpack::sbuffer buffer((answer.library ? answer.library->size() : 0) + limits::KiB);
  packer p(buffer);
  p.pack_map(answer.library ? 4 : 5);
  pack_text(p, "type");
  pack_text(p, answer.library ? "kernel_done" : "kernel_failed");
  pack_text(p, "id");
  pack_text(p, answer.job);
  pack_text(p, "kernel");
  pack_text(p, answer.kernel);
  if (answer.library) {
    pack_text(p, "library");
    pack_bytes(p, *answer.library);
    return to_body(buffer);
  }
  pack_text(p, "code");
  pack_text(p, to_string(answer.why->code));
  pack_text(p, "reason");
  pack_text(p, answer.why->message);
  return to_body(buffer);
}

bytes encode_shutdown() {
  msgpack::sbuffer buffer;
  packer p(buffer);
  p.pack_map(1);
  pack_text(p, "type");
  pack_text(p, "shutdown");
  return to_body(buffer);
}

result<engine_report> decode_report(byte_view body) {
  // An engine is another process and may be broken: depth and counts are bounded, and msgpack-c reports by throwing.
  constexpr std::size_t entries_max = 4096;
  constexpr std::size_t depth_max = 8;
  const msgpack::unpack_limit bounds(entries_max, entries_max, limits::engine_frame_bytes_max,
                                     limits::engine_frame_bytes_max, 0, depth_max);
  try {
    auto text = text_of(body);
    // References into `body` spare a copy of the artifact; they end with this function.
    auto by_reference = [](msgpack::type::object_type, std::size_t, void*) { return true; };
    auto handle = msgpack::unpack(text.data(), text.size(), by_reference, nullptr, bounds);
    return read_report(handle.get());
  } catch (const msgpack::unpack_error& e) {
    return {errc::protocol, std::string("engine frame: no msgpack: ") + e.what()};
  }
}

}  // namespace fxfarm::actors
