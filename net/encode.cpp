#include "net/codec.hpp"
#include "runtime/limits.hpp"

#include <map>
#include <type_traits>
#include <vector>

#include <msgpack.hpp>

namespace fxfarm::net {
namespace {

constexpr std::byte map_of_three{0x83};

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
  void binary_head(std::size_t size) { pack_.pack_bin(static_cast<std::uint32_t>(size)); }
  void binary(byte_view value) {
    binary_head(value.size());
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

bytes encode_chunk_head(std::uint64_t stream, std::uint64_t offset, std::size_t size) {
  constexpr std::size_t head_bytes = 96;
  bytes out;
  out.reserve(head_bytes);
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
  to.binary_head(size);
  return out;
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
