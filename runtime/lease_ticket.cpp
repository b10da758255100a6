#include "runtime/lease_ticket.hpp"

#include "runtime/bytes.hpp"
#include "runtime/digest.hpp"
#include "runtime/limits.hpp"

#include <charconv>
#include <cstdint>

#include <sodium.h>

namespace fxfarm {

// Not the secret itself: it is a key of another cipher.
lease_seal::lease_seal(const std::string& secret, std::chrono::seconds valid_for)
    : key_(digest_builder().field("fxfarm lease ticket").field(secret).finish()), valid_for_(valid_for) {}

std::string lease_seal::mac_of(const lease_facts& facts, const std::string& granted) const {
  bytes text;
  for (const auto* field : {&granted, &facts.attempt, &facts.stage_key, &facts.graph_key, &facts.worker_key}) {
    append_field(text, *field);
  }
  std::string mac(crypto_generichash_BYTES, '\0');
  // Cannot fail: both lengths are within what it takes.
  ::crypto_generichash(reinterpret_cast<unsigned char*>(mac.data()), mac.size(),
                       reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                       reinterpret_cast<const unsigned char*>(key_.data()), key_.size());
  std::string hex(2 * mac.size() + 1, '\0');
  ::sodium_bin2hex(hex.data(), hex.size(), reinterpret_cast<const unsigned char*>(mac.data()), mac.size());
  hex.pop_back();
  return hex;
}

std::string lease_seal::seal(const lease_facts& facts, double now) const {
  const auto granted = std::to_string(static_cast<std::int64_t>(now));
  return granted + ":" + mac_of(facts, granted);
}

result<void> lease_seal::check(const lease_facts& facts, const std::string& ticket, double now) const {
  if (ticket.empty()) return {errc::refused, "it has no ticket of this farm"};
  const auto granted = ticket.substr(0, ticket.find(':'));
  const auto mac = ticket.substr(std::min(ticket.size(), granted.size() + 1));
  if (!equal_secrets(mac, mac_of(facts, granted)))
    return {errc::refused, "its ticket is not of this farm, or for another job"};
  // Sealed, so it is a number.
  std::int64_t since = 0;
  std::from_chars(granted.data(), granted.data() + granted.size(), since);
  const double age = now - static_cast<double>(since);
  const auto slack = static_cast<double>(std::chrono::seconds(limits::clock_skew_max).count());
  if (age < -slack || age > static_cast<double>(valid_for_.count()) + slack) {
    return {errc::refused, "its ticket has expired"};
  }
  return {};
}

}  // namespace fxfarm
