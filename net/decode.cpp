#include "net/codec.hpp"
#include "net/msgpack_items.hpp"
#include "runtime/digest.hpp"
#include "runtime/limits.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <type_traits>
#include <vector>

namespace fxfarm::net {
namespace {

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

enum class unknown_fields : std::uint8_t { pass, stop };

// Fills values from a frame. The first fault stops it; its path is put together on the way out, so that the good path
// pays nothing for it. A fault of msgpack itself has no words here: they are outline_of's.
class reader {
public:
  explicit reader(std::string_view value, unknown_fields unknown = unknown_fields::pass)
      : in_(value), unknown_(unknown) {}

  std::string_view rest() const { return in_.rest(); }

  error failure(std::string_view root) const { return {code_, std::string(root) + where_ + ": " + what_}; }

  template <class T>
  bool read(T& out) {
    item head;
    return in_.next(head) && read(head, out);
  }

private:
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

  // Field by field; what is missing keeps its default, what is unknown is passed over. Peers write fields in the order
  // of declaration, so one walk over the fields takes them all; each further one takes what came out of that order.
  template <has_fields T>
  bool read(const item& head, T& out) {
    if (head.what != item::kind::map) return expected("a map");
    auto left = head.count;
    std::string_view name;
    bool good = left == 0 || read_name(name);
    const auto advance = [&] { return --left == 0 || read_name(name); };
    while (good && left > 0) {
      const auto before = left;
      T::fields(out, [&](std::string_view field_name, auto& field) {
        if (!good || left == 0 || name != field_name) return;
        good = (read_field(field_name, field) || at("." + std::string(field_name))) && advance();
      });
      if (good && left == before) good = pass_over() && advance();
    }
    return good;
  }

  // Empty for a key that is no text, as no field's name is.
  bool read_name(std::string_view& out) {
    item key;
    if (!in_.next(key)) return false;
    const bool text = key.what == item::kind::text;
    out = text ? key.data : std::string_view();
    return text || in_.skip(key, 0);
  }

  bool pass_over() {
    item value;
    return unknown_ == unknown_fields::pass && in_.next(value) && in_.skip(value, 0);
  }

  bool read_text(const item& from, std::string& out, std::size_t bound) {
    if (from.what != item::kind::text) return expected("a string");
    if (from.data.size() > bound) {
      return fail(errc::too_large,
                  std::to_string(from.data.size()) + " bytes of text, at most " + std::to_string(bound));
    }
    out.assign(from.data);
    return true;
  }

  template <class T>
  bool read_field(std::string_view name, T& out) {
    item head;
    if (!in_.next(head)) return false;
    if constexpr (std::is_same_v<T, std::string>) {
      return read_text(head, out, text_bound(name));
    } else {
      return read(head, out);
    }
  }

  bool read(const item& from, std::string& out) { return read_text(from, out, limits::text_bytes_max); }

  bool read(const item& from, bytes& out) {
    if (from.what != item::kind::binary) return expected("bytes");
    const auto view = view_of(from.data);
    if (view.size() > limits::chunk_bytes) {
      return fail(errc::too_large,
                  std::to_string(view.size()) + " bytes, at most " + std::to_string(limits::chunk_bytes));
    }
    out.assign(view.begin(), view.end());
    return true;
  }

  bool read(const item& from, bool& out) {
    if (from.what != item::kind::boolean) return expected("true or false");
    out = from.truth;
    return true;
  }

  bool read(const item& from, std::uint64_t& out) {
    if (from.what != item::kind::positive) return expected("an integer, not negative");
    out = from.number;
    return true;
  }

  bool read(const item& from, unsigned& out) {
    std::uint64_t wide = 0;
    if (!read(from, wide)) return false;
    if (wide > std::numeric_limits<unsigned>::max()) return expected("an integer below 2^32");
    out = static_cast<unsigned>(wide);
    return true;
  }

  // A peer's encoder may shorten a whole number to an integer.
  bool read(const item& from, double& out) {
    switch (from.what) {
      case item::kind::positive:
        out = static_cast<double>(from.number);
        return true;
      case item::kind::negative:
        out = static_cast<double>(static_cast<std::int64_t>(from.number));
        return true;
      case item::kind::real:
        out = from.real;
        return std::isfinite(out) || expected("a finite number");
      default:
        return expected("a number");
    }
  }

  template <class T>
  bool read(const item& from, std::optional<T>& out) {
    return read(from, out.emplace());
  }

  template <class T>
  bool read(const item& from, std::vector<T>& out) {
    constexpr bool stages = std::is_same_v<T, stage_spec>;
    constexpr std::size_t bound = stages ? limits::stages_per_graph_max : limits::list_items_max;
    if (from.what != item::kind::list) return expected("a list");
    if (!within(from.count, bound)) return false;
    out.resize(from.count);
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!read(out[i])) return at(i);
    }
    return true;
  }

  template <class T>
  bool read(const item& from, std::map<std::string, T>& out) {
    if (from.what != item::kind::map) return expected("a map");
    if (!within(from.count, limits::list_items_max)) return false;
    out.clear();
    for (std::size_t i = 0; i < from.count; ++i) {
      std::string key;
      T value{};
      if (!read(key)) return at(".key") || at(i);
      if (!read(value)) return at(i);
      out.insert_or_assign(std::move(key), std::move(value));
    }
    return true;
  }

  bool within(std::size_t items, std::size_t bound) {
    return items <= bound || fail(errc::too_large, std::to_string(items) + " items, at most " + std::to_string(bound));
  }

  item_reader in_;
  unknown_fields unknown_;
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
  std::optional<bytes> data;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    attachment_info::fields(s.info, f);
    f("data", s.data);
  }
};

result<void> read_attachment(std::string_view value, envelope& out) {
  reader in(value);
  wire_attachment got;
  if (!in.read(got)) return in.failure("attachment");
  auto& info = got.info;
  if (!is_digest(info.digest)) return {errc::protocol, "attachment.digest: expected 64 hex digits"};
  if (got.data) {
    if (info.stream != 0) return {errc::protocol, "attachment: both enclosed and in a stream"};
    if (got.data->size() > limits::enclosed_bytes_max) {
      return {errc::too_large, "attachment.data: " + std::to_string(got.data->size()) + " bytes, at most " +
                                   std::to_string(limits::enclosed_bytes_max)};
    }
    if (digest_hex(*got.data) != info.digest) return {errc::corrupt, "attachment.data: does not match its digest"};
    out.enclosed = make_blob(std::move(*got.data));
    out.enclosed_digest = std::move(info.digest);
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

// The values of a message's outermost map as they stand in the frame; empty when they are missing.
struct outline {
  std::string_view type;
  std::string_view body;
  std::string_view attachment;
};

// Finds the whole frame to be msgpack within the bounds of messages.
result<outline> outline_of(std::string_view frame) {
  item_reader in(frame);
  const auto fault = [&] { return in.fault().with_context("message"); };
  item root;
  if (!in.next(root)) return fault();
  if (root.what != item::kind::map) return {errc::protocol, "message: expected a map"};
  outline out;
  item head;
  for (auto left = root.count; left > 0; --left) {
    if (!in.next(head) || !in.skip(head, 2)) return fault();
    const auto name = head.what == item::kind::text ? head.data : std::string_view();
    const auto from = in.rest();
    if (!in.next(head) || !in.skip(head, 2)) return fault();
    const auto value = from.substr(0, from.size() - in.rest().size());
    if (name == "type") out.type = value;
    if (name == "body") out.body = value;
    if (name == "attachment") out.attachment = value;
  }
  if (!in.rest().empty()) {
    return {errc::protocol, "message: " + std::to_string(in.rest().size()) + " bytes follow its end"};
  }
  return out;
}

// The message of a frame as our own side writes it: type, body and attachment in this order and no field that is
// unknown. What is anything else is false, with no reason given.
bool read_as_written(std::string_view frame, envelope& out) {
  item_reader in(frame);
  item head;
  if (!in.next(head) || head.what != item::kind::map) return false;
  const auto count = head.count;
  const auto named = [&](std::string_view name) {
    return in.next(head) && head.what == item::kind::text && head.data == name;
  };
  if (count < 2 || count > 3 || !named("type") || !in.next(head) || head.what != item::kind::text) return false;
  if (!select(head.data, out.content, std::make_index_sequence<std::variant_size_v<message>>())) return false;
  if (!named("body")) return false;
  reader body(in.rest(), unknown_fields::stop);
  if (!std::visit([&](auto& content) { return body.read(content); }, out.content)) return false;
  if (count == 2) return body.rest().empty();
  in = item_reader(body.rest());
  if (!named("attachment")) return false;
  const auto attachment = in.rest();
  return in.next(head) && in.skip(head, 2) && in.rest().empty() && read_attachment(attachment, out).ok();
}

}  // namespace

result<envelope> decode(byte_view frame) {
  if (frame.size() > limits::frame_bytes_max) {
    return {errc::too_large,
            "message: " + std::to_string(frame.size()) + " bytes, at most " + std::to_string(limits::frame_bytes_max)};
  }
  // Filled where it is returned: a message is costly to move.
  result<envelope> out(envelope{});
  if (read_as_written(text_of(frame), *out)) return out;
  // The way for any frame, and for the reason why it is none of ours.
  *out = envelope{};
  const auto found = outline_of(text_of(frame));
  if (!found) return found.failure();
  if (found->type.empty()) return {errc::protocol, "type: missing"};
  reader type(found->type);
  std::string tag;
  if (!type.read(tag)) return type.failure("type");
  if (!select(tag, out->content, std::make_index_sequence<std::variant_size_v<message>>())) {
    return {errc::protocol, "type: " + in_quotes(tag) + " is no message"};
  }
  if (!found->body.empty()) {
    reader body(found->body);
    if (!std::visit([&](auto& content) { return body.read(content); }, out->content)) return body.failure(tag);
  }
  if (!found->attachment.empty()) {
    auto attached = read_attachment(found->attachment, *out);
    if (!attached) return attached.failure().with_context(tag);
  }
  return out;
}

}  // namespace fxfarm::net
