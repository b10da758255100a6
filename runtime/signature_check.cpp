#include "runtime/signature_check.hpp"

#include "runtime/key_book.hpp"

#include <chrono>
#include <mutex>

namespace fxfarm {

result<std::shared_ptr<const signature_check>> signature_check::of_file(const std::string& option,
                                                                        const std::string& path,
                                                                        std::function<void(const error&)> problem) {
  auto book = key_book::open(option, path);
  if (!book) return book.failure();
  // One thread at a time refreshes it.
  auto turn = std::make_shared<std::mutex>();
  return std::make_shared<const signature_check>([book = *std::move(book), turn, problem = std::move(problem)] {
    std::lock_guard lock(*turn);
    if (auto read = book->refresh(std::chrono::system_clock::now()); !read) problem(read.failure());
    return book->keys();
  });
}

std::optional<signature_check::refusal> signature_check::refuses_signer(const artifact_signature& by) const {
  if (!by.there()) return refusal{"unsigned", {errc::untrusted, "the artifact is not signed"}};
  if (signers_()->accepts_signer(by.signer)) return std::nullopt;
  const auto name = is_signing_key(by.signer) ? by.signer : std::string("no key at all");
  return refusal{"unknown_signer", {errc::untrusted, "the artifact is signed by " + name + ", who is not accepted"}};
}

std::optional<signature_check::refusal> signature_check::refuses(const artifact_facts& what,
                                                                 const artifact_signature& by) const {
  if (auto refused = refuses_signer(by)) return refused;
  if (is_signed(what, by)) return std::nullopt;
  return refusal{"bad_signature",
                 {errc::untrusted, "the artifact is not what " + by.signer + " has signed for this stage"}};
}

}  // namespace fxfarm
