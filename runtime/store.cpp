#include "runtime/store.hpp"

#include "runtime/digest.hpp"
#include "runtime/disk_store.hpp"
#include "runtime/memory_store.hpp"

namespace fxfarm {
namespace {

error not_a_key(const std::string& key) {
  constexpr std::size_t shown = 80;
  return {errc::bad_input, "'" + key.substr(0, shown) + "' is no key of the store: 64 hex digits are"};
}

// An artifact that does not fit is no failure of the tier: larger ones below take it.
void report(const store_reporter& reporter, const store_tier& tier, const error& why) {
  if (why.code != errc::too_large) reporter.failed(tier.name(), why);
}

}  // namespace

artifact_facts facts_of(const std::string& key, const stored& what) {
  return {key, digest_hex(*what.data), what.data->size()};
}

result<std::unique_ptr<store>> store::open(const store_options& options, store_reporter reporter,
                                           std::shared_ptr<const signature_check> signatures) {
  auto shared = std::make_shared<const store_reporter>(std::move(reporter));
  std::vector<std::unique_ptr<store_tier>> tiers;
  if (options.memory_bytes > 0) tiers.push_back(std::make_unique<memory_store>(options.memory_bytes, shared));
  if (!options.directory.empty()) {
    auto disk = disk_store::open(options.directory, options.disk_bytes, shared);
    if (!disk) return disk.failure();
    tiers.push_back(std::move(*disk));
  }
  if (tiers.empty()) return {errc::bad_config, "the store has neither memory nor a directory"};
  return std::make_unique<store>(std::move(tiers), std::move(shared), std::move(signatures));
}

store::store(std::vector<std::unique_ptr<store_tier>> tiers, std::shared_ptr<const store_reporter> reporter,
             std::shared_ptr<const signature_check> signatures)
    : tiers_(std::move(tiers)), reporter_(std::move(reporter)), signatures_(std::move(signatures)) {}

bool store::may_use(store_tier& tier, const std::string& key, const stored& what) {
  if (!signatures_) return true;
  const auto refused = tier.is_own_memory() ? signatures_->refuses_signer(what.signature)
                                            : signatures_->refuses(facts_of(key, what), what.signature);
  if (!refused) return true;
  const auto why = refused->why.with_context(key);
  reporter_->untrusted(tier.name(), refused->reason, &why);
  if (auto removed = tier.remove(key); !removed) reporter_->failed(tier.name(), removed.failure());
  return false;
}

result<std::optional<stored>> store::get(const std::string& key) {
  if (!is_digest(key)) return not_a_key(key);
  for (std::size_t i = 0; i < tiers_.size(); ++i) {
    auto& tier = *tiers_[i];
    reporter_->queried(tier.name());
    auto found = tier.get(key);
    if (!found) {
      reporter_->failed(tier.name(), found.failure());
      continue;
    }
    if (!*found || !may_use(tier, key, **found)) continue;
    reporter_->hit(tier.name());
    (*found)->tier = tier.name();
    for (std::size_t faster = i; faster-- > 0;) {
      if (auto kept = tiers_[faster]->put(key, **found); !kept) {
        report(*reporter_, *tiers_[faster], kept.failure());
      }
    }
    return found;
  }
  return std::optional<stored>{};
}

std::shared_ptr<const stored> store::get_at_once(const std::string& key) {
  auto& tier = *tiers_.front();
  auto found = tier.get_at_once(key);
  if (!found || !may_use(tier, key, *found)) return nullptr;
  reporter_->queried(tier.name());
  reporter_->hit(tier.name());
  return found;
}

result<void> store::put(const std::string& key, const stored& what) {
  if (!is_digest(key)) return not_a_key(key);
  if (!what.data) return {errc::bad_input, "nothing to store under " + key};
  bool kept_somewhere = false;
  std::optional<error> refusal;
  for (auto tier = tiers_.rbegin(); tier != tiers_.rend(); ++tier) {
    auto kept = (*tier)->put(key, what);
    if (kept) {
      kept_somewhere = true;
      continue;
    }
    report(*reporter_, **tier, kept.failure());
    if (!refusal) refusal = kept.failure();
  }
  if (kept_somewhere || !refusal) return {};
  return refusal->with_context("no tier of the store took " + key);
}

result<bool> store::remove(const std::string& key) {
  if (!is_digest(key)) return not_a_key(key);
  bool was_there = false;
  std::optional<error> refusal;
  // Slowest first: otherwise a get in between would bring it back into a faster tier.
  for (auto tier = tiers_.rbegin(); tier != tiers_.rend(); ++tier) {
    auto removed = (*tier)->remove(key);
    if (removed) {
      was_there = was_there || *removed;
      continue;
    }
    reporter_->failed((*tier)->name(), removed.failure());
    if (!refusal) refusal = removed.failure();
  }
  if (refusal) return *refusal;
  return was_there;
}

std::vector<stored_entry> store::list() {
  std::vector<stored_entry> all;
  for (auto& tier : tiers_) {
    auto entries = tier->list();
    if (!entries) {
      reporter_->failed(tier->name(), entries.failure());
      continue;
    }
    std::move(entries->begin(), entries->end(), std::back_inserter(all));
  }
  return all;
}

void store::drop_untrusted() {
  if (!signatures_) return;
  for (auto& tier : tiers_) {
    auto dropped = tier->drop([&](const artifact_signature& by) {
      const auto refused = signatures_->refuses_signer(by);
      if (refused) reporter_->untrusted(tier->name(), refused->reason, nullptr);
      return refused.has_value();
    });
    if (!dropped) reporter_->failed(tier->name(), dropped.failure());
  }
}

}  // namespace fxfarm
