#include "runtime/store_file.hpp"

#include "runtime/digest.hpp"

#include <array>
#include <bit>
#include <cerrno>
#include <concepts>

#include <sys/stat.h>
#include <unistd.h>

namespace fxfarm {
namespace {

constexpr std::string_view magic = "fxfarmst";
constexpr std::uint32_t version = 2;
constexpr std::size_t lengths_bytes = magic.size() + 4 + 4 + 8;  // all that comes before the digest
constexpr std::size_t fixed_bytes = lengths_bytes + digest_hex_chars;
static_assert(fixed_bytes == store_file_fixed_bytes);

template <std::unsigned_integral T>
void write_number(bytes& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

void write_text(bytes& out, std::string_view text) {
  write_number(out, static_cast<std::uint32_t>(text.size()));
  auto v = view_of(text);
  out.insert(out.end(), v.begin(), v.end());
}

// Takes values from the front of a buffer; once it has run short, it stays failed and gives zeros.
class reader {
public:
  explicit reader(byte_view data) : rest_(data) {}

  template <std::unsigned_integral T>
  T number() {
    T value = 0;
    auto raw = take(sizeof(T));
    for (std::size_t i = 0; i < raw.size(); ++i) value |= static_cast<T>(std::to_integer<T>(raw[i]) << (8 * i));
    return value;
  }
  std::string text() { return std::string(text_of(take(number<std::uint32_t>()))); }
  byte_view take(std::size_t size) {
    if (size > rest_.size()) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    auto front = rest_.first(size);
    rest_ = rest_.subspan(size);
    return front;
  }
  bool failed() const { return failed_; }
  bool complete() const { return !failed_ && rest_.empty(); }

private:
  byte_view rest_;
  bool failed_ = false;
};

bytes write_attributes(const stored& what) {
  bytes out;
  write_text(out, what.made_by);
  write_number(out, static_cast<std::uint32_t>(what.phases.size()));
  for (const auto& [phase, seconds] : what.phases) {
    write_text(out, phase);
    write_number(out, std::bit_cast<std::uint64_t>(seconds));
  }
  write_text(out, what.signature.signer);
  write_text(out, what.signature.value);
  return out;
}

bool read_attributes(byte_view data, stored& into) {
  reader in(data);
  into.made_by = in.text();
  auto count = in.number<std::uint32_t>();
  for (std::uint32_t i = 0; i < count && !in.failed(); ++i) {
    auto phase = in.text();
    into.phases[phase] = std::bit_cast<double>(in.number<std::uint64_t>());
  }
  into.signature.signer = in.text();
  into.signature.value = in.text();
  return in.complete();
}

std::string digest_of(const std::string& key, byte_view lengths, byte_view attributes, byte_view data) {
  return digest_builder().field(key).append(lengths).append(attributes).append(data).finish();
}

// Reads exactly `size` bytes; fewer are there only when somebody shortens the file meanwhile.
result<bytes> read_bytes(int fd, std::size_t size) {
  bytes out(size);
  std::size_t done = 0;
  while (done < size) {
    auto n = ::read(fd, out.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return {errc::io, std::string("cannot read: ") + std::strerror(errno)};
    if (n == 0) return {errc::corrupt, "the file ends early"};
    done += static_cast<std::size_t>(n);
  }
  return out;
}

// The file's head with its attributes.
result<bytes> read_head(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return {errc::io, std::string("cannot stat: ") + std::strerror(errno)};
  if (!S_ISREG(info.st_mode)) return {errc::io, "not a regular file"};
  const auto file_bytes = static_cast<std::uint64_t>(info.st_size);
  if (file_bytes < fixed_bytes) return {errc::corrupt, "the file is too short"};

  auto head = read_bytes(fd, fixed_bytes);
  if (!head) return head.failure();
  const auto facts = look_at_store_file_head(*head);
  if (!facts) return facts.failure();
  // The sizes are believed only when they add up to the file's, so that a flipped bit cannot ask for memory.
  if (facts->data_bytes != file_bytes - fixed_bytes - facts->attribute_bytes) {
    return {errc::corrupt, "its lengths do not match the file's"};
  }
  const auto attributes = read_bytes(fd, facts->attribute_bytes);
  if (!attributes) return attributes.failure();
  head->insert(head->end(), attributes->begin(), attributes->end());
  return head;
}

}  // namespace

result<bytes> store_file_head(const std::string& key, const stored& what) {
  auto attributes = write_attributes(what);
  if (attributes.size() > limits::store_attributes_bytes_max) {
    return {errc::too_large, std::to_string(attributes.size()) + " bytes of attributes, at most " +
                                 std::to_string(limits::store_attributes_bytes_max) + " are kept"};
  }
  bytes head = to_bytes(magic);
  write_number(head, version);
  write_number(head, static_cast<std::uint32_t>(attributes.size()));
  write_number(head, static_cast<std::uint64_t>(what.data->size()));
  auto digest = digest_of(key, head, attributes, *what.data);
  auto digits = view_of(digest);
  head.insert(head.end(), digits.begin(), digits.end());
  head.insert(head.end(), attributes.begin(), attributes.end());
  return head;
}

result<store_file_facts> look_at_store_file_head(byte_view head) {
  reader in(head);
  store_file_facts facts;
  if (text_of(in.take(magic.size())) != magic) return {errc::corrupt, "not an artifact of the store"};
  if (auto v = in.number<std::uint32_t>(); v != version) {
    return {errc::corrupt, "version " + std::to_string(v) + " of the format is not known"};
  }
  facts.attribute_bytes = in.number<std::uint32_t>();
  facts.data_bytes = in.number<std::uint64_t>();
  facts.digest = text_of(in.take(digest_hex_chars));
  if (in.failed()) return {errc::corrupt, "the head is too short"};
  if (facts.attribute_bytes > limits::store_attributes_bytes_max) {
    return {errc::corrupt, "its lengths are not possible"};
  }
  return facts;
}

result<stored> join_store_file(const std::string& key, byte_view head, bytes data) {
  auto facts = look_at_store_file_head(head);
  if (!facts) return facts.failure();
  if (head.size() != fixed_bytes + facts->attribute_bytes || data.size() != facts->data_bytes) {
    return {errc::corrupt, "its lengths do not match what is there"};
  }
  const auto attributes = head.subspan(fixed_bytes);
  if (digest_of(key, head.first(lengths_bytes), attributes, data) != facts->digest) {
    return {errc::corrupt, "its digest does not match"};
  }
  stored what;
  if (!read_attributes(attributes, what)) return {errc::corrupt, "its attributes cannot be read"};
  what.data = make_blob(std::move(data));
  return what;
}

result<stored> read_store_file(int fd, const std::string& key) {
  auto head = read_head(fd);
  if (!head) return head.failure();
  auto data = read_bytes(fd, look_at_store_file_head(*head)->data_bytes);
  if (!data) return data.failure();
  return join_store_file(key, *head, *std::move(data));
}

result<artifact_signature> read_store_file_signature(int fd) {
  const auto head = read_head(fd);
  if (!head) return head.failure();
  stored what;
  if (!read_attributes(byte_view(*head).subspan(fixed_bytes), what)) {
    return {errc::corrupt, "its attributes cannot be read"};
  }
  return what.signature;
}

}  // namespace fxfarm
