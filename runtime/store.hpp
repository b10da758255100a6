#pragma once
// The store of artifacts: fast tiers over slow ones. A tier that fails is reported and skipped; serving goes on.

#include "runtime/artifact_signature.hpp"
#include "runtime/bytes.hpp"
#include "runtime/error.hpp"
#include "runtime/limits.hpp"
#include "runtime/signature_check.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

// An artifact and what is kept beside it.
struct stored {
  blob data;                             // never null in a store
  std::map<std::string, double> phases;  // compile phase -> seconds, from the job that made it
  std::string made_by;                   // the worker that made it
  std::string tier;                      // of what a store gives: the tier that had it; put ignores it
  artifact_signature signature = {};     // of whoever vouches for it
};

// What its signature must be for. Reads all of the data.
artifact_facts facts_of(const std::string& key, const stored& what);

struct stored_entry {
  std::string key;
  std::uint64_t bytes = 0;
  std::chrono::system_clock::time_point used;  // last put or get
  std::string tier;
};

// Where a store tells what happens in it. Called on the thread that uses the store, from several at once, and never
// under one of its locks; must not throw.
struct store_reporter {
  std::function<void(std::string_view tier)> queried = [](std::string_view) {};
  std::function<void(std::string_view tier)> hit = [](std::string_view) {};
  // Also for a file found corrupt; not for an artifact that is too large for the tier.
  std::function<void(std::string_view tier, const error& why)> failed = [](std::string_view, const error&) {};
  // Dropped, since nobody who is accepted vouches for it. `why` is null for what was not asked for when it went.
  std::function<void(std::string_view tier, std::string_view reason, const error* why)> untrusted =
      [](std::string_view, std::string_view, const error*) {};
  std::function<void(std::string_view tier, std::uint64_t bytes)> evicted = [](std::string_view, std::uint64_t) {};
  std::function<void(std::string_view tier, std::uint64_t bytes)> resized = [](std::string_view, std::uint64_t) {};
};

// One place where artifacts are kept. Thread-safe. Keys have been checked by the store.
class store_tier {
public:
  // Whether what has this signature is to go.
  using unwanted = std::function<bool(const artifact_signature&)>;

  virtual ~store_tier() = default;
  virtual std::string_view name() const = 0;
  // Whether nobody but this process can have changed what is there.
  virtual bool is_own_memory() const { return false; }
  // What looking does not hold anybody up for; null otherwise.
  virtual std::shared_ptr<const stored> get_at_once(const std::string&) { return nullptr; }
  // Nothing when the key is not there; `corrupt` when it was and had to be removed.
  virtual result<std::optional<stored>> get(const std::string& key) = 0;
  virtual result<void> put(const std::string& key, const stored& what) = 0;
  // Whether it was there.
  virtual result<bool> remove(const std::string& key) = 0;
  virtual result<std::vector<stored_entry>> list() = 0;
  // Removes what is unwanted without reading all of it. A tier for which that is not cheap need not.
  virtual result<void> drop(const unwanted&) { return {}; }
};

struct store_options {
  std::filesystem::path directory;  // of the disk tier; empty: no disk tier
  std::uint64_t disk_bytes = limits::store_disk_bytes;
  std::size_t memory_bytes = limits::store_memory_bytes;  // 0: no memory tier
};

class store {
public:
  // Memory over disk. Errors: `io` naming the directory that cannot be used and why, `bad_config` without any tier.
  static result<std::unique_ptr<store>> open(const store_options& options, store_reporter reporter = {},
                                             std::shared_ptr<const signature_check> signatures = nullptr);
  // Any tiers, fastest first. `signatures`: null when whatever is there is trusted.
  store(std::vector<std::unique_ptr<store_tier>> tiers, std::shared_ptr<const store_reporter> reporter,
        std::shared_ptr<const signature_check> signatures = nullptr);

  // Asks the tiers in order; what a slower one has is put into the faster ones. Errors: `bad_input` for a key that is
  // no digest. A tier that fails counts as one that does not have it, and so does one whose artifact is not signed by
  // whom it must be: that is removed there.
  result<std::optional<stored>> get(const std::string& key);
  // What the fastest tier has, when asking it holds up nobody, else null; a miss is not counted, since `get` comes
  // after it.
  std::shared_ptr<const stored> get_at_once(const std::string& key);
  // Does not look at signatures: who puts has.
  // Slowest tier first, so that what is announced is durable. Success when at least one tier took it; otherwise the
  // error of the first tier that refused. `bad_input` for a key that is no digest, or without data.
  result<void> put(const std::string& key, const stored& what);
  // Removes it from every tier; whether any had it. An error when a tier could not remove it: it may come back.
  result<bool> remove(const std::string& key);
  // What all tiers hold; a key may be in several.
  std::vector<stored_entry> list();
  // Removes what signers have made who are accepted no longer, as far as that can be seen without reading all of it;
  // the rest goes when it is asked for.
  void drop_untrusted();

private:
  // Whether the tier's artifact may be used; otherwise it is gone from there.
  bool may_use(store_tier& tier, const std::string& key, const stored& what);

  std::vector<std::unique_ptr<store_tier>> tiers_;
  std::shared_ptr<const store_reporter> reporter_;
  std::shared_ptr<const signature_check> signatures_;
};

}  // namespace fxfarm
