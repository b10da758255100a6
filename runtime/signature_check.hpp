#pragma once
// Whether an artifact is one of those that a list of signers vouches for. The list may change at any time, and what was
// accepted may be so no longer. Thread-safe.

#include "runtime/artifact_signature.hpp"
#include "runtime/authorized_keys.hpp"
#include "runtime/error.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

class signature_check {
public:
  // The list that is in force now; never null. Any thread.
  using list = std::function<std::shared_ptr<const authorized_keys>()>;

  struct refusal {
    std::string_view reason;  // "unsigned", "unknown_signer" or "bad_signature"
    error why;                // untrusted
  };

  explicit signature_check(list signers) : signers_(std::move(signers)) {}
  // The list in a file of the form of authorized keys, looked at again each time that it is asked. When it has become
  // one that cannot be used, the signers stay as they were and `problem` hears why, once, on the thread that asks.
  // Errors, which begin with `option`: bad_config.
  static result<std::shared_ptr<const signature_check>> of_file(const std::string& option, const std::string& path,
                                                                std::function<void(const error&)> problem);

  // Nothing when an accepted signer has signed just that.
  std::optional<refusal> refuses(const artifact_facts& what, const artifact_signature& by) const;
  // Of what has been checked before: whether its signer is accepted still.
  std::optional<refusal> refuses_signer(const artifact_signature& by) const;
  // Public keys in force, in order.
  std::vector<std::string> signers() const { return signers_()->signers(); }

private:
  list signers_;
};

}  // namespace fxfarm
