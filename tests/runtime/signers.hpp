#pragma once
// Signers for tests, and artifacts that they have signed.

#include "runtime/digest.hpp"
#include "runtime/signature_check.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace fxfarm::testing_signers {

inline artifact_signer new_signer() {
  return *artifact_signer::of(make_signing_keys());
}

inline artifact_signature signed_by(const artifact_signer& who, const std::string& stage_key, byte_view data) {
  return who.sign({stage_key, digest_hex(data), data.size()});
}

// A list that a test changes as an operator would the file.
class signer_list {
public:
  void accept(const std::vector<std::string>& public_keys) {
    std::string text;
    for (const auto& key : public_keys) text += "signer * " + key + "\n";
    const auto parsed = authorized_keys::parse(text);
    std::lock_guard lock(mutex_);
    keys_ = std::make_shared<const authorized_keys>(parsed.value());
  }
  std::shared_ptr<const signature_check> check() {
    return std::make_shared<const signature_check>([this] {
      std::lock_guard lock(mutex_);
      return keys_;
    });
  }

private:
  std::mutex mutex_;
  std::shared_ptr<const authorized_keys> keys_ = std::make_shared<const authorized_keys>();
};

}  // namespace fxfarm::testing_signers
