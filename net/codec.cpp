#include "net/codec.hpp"

#include "runtime/digest.hpp"
#include "runtime/limits.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <new>
#include <type_traits>
#include <vector>

#include <msgpack.hpp>

namespace fxfarm::net {
namespace {

template <class T>
concept has_fields = requires(T& value) {
  T::fields(value, [](std::string_view, auto&) {});
};

constexpr std::byte map_of_three{0x83};

// --- out -------------------------------------------------------------------------------------------------------------

struct growing {
  bytes& out;
  void write(const char* data, std::size_t size) {
    const auto* first = reinterpret_cast<const std::byte*>(data);
    out.insert(out.end(), first, first + size);
  }
};

// Cut at the start of a UTF-8 sequence, so that a text stays a text.
std::string_view clipped(std::string_view text) {
  if (text.size() <= limits::text_bytes_max) return text;
  auto end = limits::text_bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return text.substr(0, end);
}

class writer {
public:
  explicit writer(bytes& out) : sink_{out}, pack_(sink_) {}

  void map(std::size_t items) { pack_.pack_map(static_cast<std::uint32_t>(items)); }
  void text(std::string_view value) {
    pack_.pack_str(static_cast<std::uint32_t>(value.size()));
    pack_.pack_str_body(value.data(), static_cast<std::uint32_t>(value.size()));
  }
  void binary(byte_view value) {
    pack_.pack_bin(static_cast<std::uint32_t>(value.size()));
    pack_.pack_bin_body(reinterpret_cast<const char*>(value.data()), static_cast<std::uint32_t>(value.size()));
  }

  void value(const std::string& v) { text(v); }
  void value(const bytes& v) { binary(v); }
  void value(bool v) { v ? pack_.pack_true() : pack_.pack_false(); }
  void value(unsigned v) { pack_.pack_unsigned_int(v); }
  void value(std::uint64_t v) { pack_.pack_uint64(v); }
  void value(double v) { pack_.pack_double(v); }

  template <class T>
  void value(const std::vector<T>& items) {
    pack_.pack_array(static_cast<std::uint32_t>(items.size()));
    for (const auto& item : items) value(item);
  }
  template <class T>
  void value(const std::map<std::string, T>& items) {
    map(items.size());
    for (const auto& [key, item] : items) {
      text(key);
      value(item);
    }
  }
  template <has_fields T>
  void value(const T& body) {
    std::size_t count = 0;
    T::fields(body, [&](std::string_view, const auto&) { ++count; });
    map(count);
    T::fields(body, [&](std::string_view name, const auto& field) {
      text(name);
      if constexpr (std::is_same_v<std::decay_t<decltype(field)>, std::string>) {
        text(name == "reason" || name == "error" ? clipped(field) : std::string_view(field));
      } else {
        value(field);
      }
    });
  }

private:
  growing sink_;
  msgpack::packer<growing> pack_;
};

// --- in --------------------------------------------------------------------------------------------------------------

// What a peer wrote, made fit for a reason or a log line.
std::string in_quotes(std::string_view text) {
  constexpr std::size_t shown_max = 64;
  std::string shown(text.substr(0, shown_max));
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c > 0x7E; }, '?');
  return "\"" + shown + (text.size() > shown_max ? "...\"" : "\"");
}

std::size_t text_bound(std::string_view field) {
  return field == "document" ? limits::report_bytes_max : limits::text_bytes_max;
}

// Fills values from msgpack objects. The first fault stops it; its path is put together on the way out, so that the
// good path pays nothing for it.
class reader {
public:
  error failure(std::string_view root) const { return {code_, std::string(root) + where_ + ": " + what_}; }

  bool fail(errc code, std::string what) {
    code_ = code;
    what_ = std::move(what);
    return false;
  }
  bool expected(std::string_view what) { return fail(errc::protocol, "expected " + std::string(what)); }
  bool at(std::string_view step) {
    where_.insert(0, step);
    return false;
  }
  bool at(std::size_t index) { return at("[" + std::to_string(index) + "]"); }

  // Field by field; what is missing keeps its default, what is unknown is passed over.
  template <has_fields T>
  bool read(const msgpack::object& from, T& out) {
    if (from.type != msgpack::type::MAP) return expected("a map");
    bool good = true;
    std::uint32_t hint = 0;
    T::fields(out, [&](std::string_view name, auto& field) {
      if (!good) return;
      const auto* found = find(from.via.map, name, hint);
      if (found != nullptr && !read_field(name, *found, field)) good = at("." + std::string(name));
    });
    return good;
  }

  // Peers write fields in the order of declaration, so the search starts after the one found last.
  static const msgpack::object* find(const msgpack::object_map& in, std::string_view name, std::uint32_t& hint) {
    for (std::uint32_t n = 0; n < in.size; ++n) {
      const auto i = hint + n < in.size ? hint + n : hint + n - in.size;
      const auto& key = in.ptr[i].key;
      if (key.type == msgpack::type::STR && std::string_view(key.via.str.ptr, key.via.str.size) == name) {
        hint = i + 1 < in.size ? i + 1 : 0;
        return &in.ptr[i].val;
      }
    }
    return nullptr;
  }

  bool read_text(const msgpack::object& from, std::string& out, std::size_t bound) {
    if (from.type != msgpack::type::STR) return expected("a string");
    if (from.via.str.size > bound) {
      return fail(errc::too_large,
                  std::to_string(from.via.str.size) + " bytes of text, at most " + std::to_string(bound));
    }
    out.assign(from.via.str.ptr, from.via.str.size);
    return true;
  }

private:
  template <class T>
  bool read_field(std::string_view name, const msgpack::object& from, T& out) {
    if constexpr (std::is_same_v<T, std::string>) {
      return read_text(from, out, text_bound(name));
    } else {
      return read(from, out);
    }
  }

  bool read(const msgpack::object& from, std::string& out) { return read_text(from, out, limits::text_bytes_max); }

  bool read(const msgpack::object& from, bytes& out) {
    if (from.type != msgpack::type::BIN) return expected("bytes");
    const auto view = view_of(std::string_view(from.via.bin.ptr, from.via.bin.size));
    if (view.size() > limits::chunk_bytes) {
      return fail(errc::too_large,
                  std::to_string(view.size()) + " bytes, at most " + std::to_string(limits::chunk_bytes));
    }
    out.assign(view.begin(), view.end());
    return true;
  }

  bool read(const msgpack::object& from, bool& out) {
    if (from.type != msgpack::type::BOOLEAN) return expected("true or false");
    out = from.via.boolean;
    return true;
  }

  bool read(const msgpack::object& from, std::uint64_t& out) {
    if (from.type != msgpack::type::POSITIVE_INTEGER) return expected("an integer, not negative");
    out = from.via.u64;
    return true;
  }

  bool read(const msgpack::object& from, unsigned& out) {
    std::uint64_t wide = 0;
    if (!read(from, wide)) return false;
    if (wide > std::numeric_limits<unsigned>::max()) return expected("an integer below 2^32");
    out = static_cast<unsigned>(wide);
    return true;
  }

  // A peer's encoder may shorten a whole number to an integer.
  bool read(const msgpack::object& from, double& out) {
    switch (from.type) {
      case msgpack::type::POSITIVE_INTEGER:
        out = static_cast<double>(from.via.u64);
        return true;
      case msgpack::type::NEGATIVE_INTEGER:
        out = static_cast<double>(from.via.i64);
        return true;
      case msgpack::type::FLOAT32:
      case msgpack::type::FLOAT64:
        out = from.via.f64;
        return std::isfinite(out) || expected("a finite number");
      default:
        return expected("a number");
    }
  }

  template <class T>
  bool read(const msgpack::object& from, std::vector<T>& out) {
    constexpr bool stages = std::is_same_v<T, stage_spec>;
    constexpr std::size_t bound = stages ? limits::stages_per_graph_max : limits::list_items_max;
    if (from.type != msgpack::type::ARRAY) return expected("a list");
    if (!within(from.via.array.size, bound)) return false;
    out.resize(from.via.array.size);
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!read(from.via.array.ptr[i], out[i])) return at(i);
    }
    return true;
  }

  template <class T>
  bool read(const msgpack::object& from, std::map<std::string, T>& out) {
    if (from.type != msgpack::type::MAP) return expected("a map");
    if (!within(from.via.map.size, limits::list_items_max)) return false;
    out.clear();
    for (std::size_t i = 0; i < from.via.map.size; ++i) {
      std::string key;
      T item{};
      if (!read(from.via.map.ptr[i].key, key)) return at(".key") || at(i);
      if (!read(from.via.map.ptr[i].val, item)) return at(i);
      out.insert_or_assign(std::move(key), std::move(item));
    }
    return true;
  }

  bool within(std::size_t items, std::size_t bound) {
    return items <= bound || fail(errc::too_large, std::to_string(items) + " items, at most " + std::to_string(bound));
  }

  errc code_ = errc::protocol;
  std::string where_;  // ".stages[3].name"
  std::string what_;
};

// The alternative of `message` that has this tag, with its defaults.
template <std::size_t... I>
bool select(std::string_view tag, message& out, std::index_sequence<I...>) {
  return ((std::variant_alternative_t<I, message>::tag == tag && (out.emplace<I>(), true)) || ...);
}

// An attachment on the wire: announced or enclosed.
struct wire_attachment {
  attachment_info info;
  bytes data;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    attachment_info::fields(s.info, f);
    f("data", s.data);
  }
};

result<void> read_attachment(const msgpack::object* from, envelope& out) {
  if (from == nullptr) return {};
  reader in;
  wire_attachment got;
  if (!in.read(*from, got)) return in.failure("attachment");
  auto& info = got.info;
  if (!is_digest(info.digest)) return {errc::protocol, "attachment.digest: expected 64 hex digits"};
  std::uint32_t hint = 0;
  if (reader::find(from->via.map, "data", hint) != nullptr) {
    if (info.stream != 0) return {errc::protocol, "attachment: both enclosed and in a stream"};
    if (got.data.size() > limits::enclosed_bytes_max) {
      return {errc::too_large, "attachment.data: " + std::to_string(got.data.size()) + " bytes, at most " +
                                   std::to_string(limits::enclosed_bytes_max)};
    }
    if (digest_hex(got.data) != info.digest) return {errc::corrupt, "attachment.data: does not match its digest"};
    out.enclosed = make_blob(std::move(got.data));
    return {};
  }
  if (info.stream == 0) return {errc::protocol, "attachment.stream: expected a stream's number"};
  if (info.size > limits::attachment_bytes_max) {
    return {errc::too_large, "attachment.size: " + std::to_string(info.size) + " bytes, at most " +
                                 std::to_string(limits::attachment_bytes_max)};
  }
  out.attachment = std::move(info);
  return {};
}

result<envelope> read_envelope(const msgpack::object& root) {
  if (root.type != msgpack::type::MAP) return {errc::protocol, "message: expected a map"};
  reader in;
  std::uint32_t hint = 0;
  const auto* type = reader::find(root.via.map, "type", hint);
  std::string tag;
  if (type == nullptr) return {errc::protocol, "type: missing"};
  if (!in.read_text(*type, tag, limits::text_bytes_max)) return in.failure("type");
  envelope out;
  if (!select(tag, out.content, std::make_index_sequence<std::variant_size_v<message>>())) {
    return {errc::protocol, "type: " + in_quotes(tag) + " is no message"};
  }
  if (const auto* body = reader::find(root.via.map, "body", hint)) {
    if (!std::visit([&](auto& content) { return in.read(*body, content); }, out.content)) return in.failure(tag);
  }
  auto attached = read_attachment(reader::find(root.via.map, "attachment", hint), out);
  if (!attached) return attached.failure().with_context(tag);
  return out;
}

// Texts and bytes stay in the frame while it is looked at.
bool refer(msgpack::type::object_type, std::size_t, void*) {
  return true;
}

}  // namespace

bytes encode(const message& content, std::size_t room) {
  constexpr std::size_t usual_bytes = 512;
  bytes out;
  out.reserve(usual_bytes + room);
  writer to(out);
  to.map(2);
  std::visit(
      [&](const auto& body) {
        to.text("type");
        to.text(body.tag);
        to.text("body");
        to.value(body);
      },
      content);
  return out;
}

bytes announce(bytes encoded, const attachment_info& attachment) {
  encoded.front() = map_of_three;
  writer to(encoded);
  to.text("attachment");
  to.value(attachment);
  return encoded;
}

bytes enclose(bytes encoded, byte_view attachment, std::string_view digest) {
  encoded.front() = map_of_three;
  writer to(encoded);
  to.text("attachment");
  to.map(2);
  to.text("digest");
  to.text(digest);
  to.text("data");
  to.binary(attachment);
  return encoded;
}

bytes encode_chunk(std::uint64_t stream, std::uint64_t offset, byte_view data) {
  constexpr std::size_t around_bytes = 96;
  bytes out;
  out.reserve(data.size() + around_bytes);
  writer to(out);
  to.map(2);
  to.text("type");
  to.text(chunk::tag);
  to.text("body");
  to.map(3);
  to.text("stream");
  to.value(stream);
  to.text("offset");
  to.value(offset);
  to.text("data");
  to.binary(data);
  return out;
}

result<envelope> decode(byte_view frame) {
  if (frame.size() > limits::frame_bytes_max) {
    return {errc::too_large,
            "message: " + std::to_string(frame.size()) + " bytes, at most " + std::to_string(limits::frame_bytes_max)};
  }
  static const msgpack::unpack_limit bounds(limits::list_items_max, limits::list_items_max, limits::report_bytes_max,
                                            limits::chunk_bytes, 0, limits::message_depth_max);
  // Its first block of memory is kept from one message to the next.
  thread_local msgpack::zone memory;
  try {
    memory.clear();
    std::size_t used = 0;
    bool referenced = false;
    const auto text = text_of(frame);
    const auto root = msgpack::unpack(memory, text.data(), text.size(), used, referenced, refer, nullptr, bounds);
    if (used != frame.size()) {
      return {errc::protocol, "message: " + std::to_string(frame.size() - used) + " bytes follow its end"};
    }
    return read_envelope(root);
  } catch (const msgpack::size_overflow& e) {
    return {errc::too_large, std::string("message: ") + e.what()};
  } catch (const msgpack::unpack_error& e) {
    return {errc::protocol, std::string("message: no msgpack: ") + e.what()};
  } catch (const std::bad_alloc&) {
    return {errc::too_large, "message: does not fit into memory"};
  }
}

std::string_view tag_in(byte_view encoded) {
  constexpr std::string_view before = "\xa4type";
  const auto text = text_of(encoded);
  if (text.size() < before.size() + 2 || text.substr(1, before.size()) != before) return {};
  const auto size = static_cast<unsigned char>(text[before.size() + 1]) & 0x1FU;
  return text.substr(before.size() + 2, size);
}

std::string_view tag_of(const message& content) {
  return std::visit([](const auto& body) { return std::string_view(body.tag); }, content);
}

}  // namespace fxfarm::net
