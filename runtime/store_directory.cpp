#include "runtime/store_directory.hpp"

#include "runtime/digest.hpp"
#include "runtime/file_handle.hpp"
#include "runtime/store_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include <fcntl.h>

namespace fxfarm {
namespace {

namespace fs = std::filesystem;

result<void> check(const std::string& key, const stored& what, const signature_check* signatures) {
  const auto refused = signatures ? signatures->refuses(facts_of(key, what), what.signature) : std::nullopt;
  return refused ? result<void>(refused->why) : result<void>();
}

template <class F>
result<directory_report> for_each_artifact(const store_directory& directory, const std::string& key,
                                           const signature_check* signatures, F&& take) {
  auto entries = directory.list(key);
  if (!entries) return entries.failure();
  directory_report report;
  for (const auto& entry : *entries) {
    auto taken = directory.read(entry.key);
    if (!taken && taken.failure().code == errc::not_found) continue;  // a coordinator has evicted it meanwhile
    result<void> done = taken ? check(entry.key, *taken, signatures) : result<void>(taken.failure());
    if (done) done = take(entry.key, *taken);
    if (!done) {
      report.faults.push_back({entry.key, done.failure()});
      continue;
    }
    ++report.artifacts;
    report.bytes += entry.bytes;
  }
  return report;
}

}  // namespace

result<store_directory> store_directory::open(fs::path directory) {
  std::error_code why;
  if (!fs::is_directory(directory, why)) return {errc::not_found, "there is no directory " + directory.string()};
  return make(std::move(directory));
}

result<store_directory> store_directory::make(fs::path directory) {
  auto tier =
      disk_store::open(directory, std::numeric_limits<std::uint64_t>::max(), std::make_shared<const store_reporter>());
  if (!tier) return tier.failure();
  store_directory made(std::move(directory));
  made.tier_ = *std::move(tier);
  return made;
}

result<std::vector<stored_entry>> store_directory::list(const std::string& key) const {
  auto entries = tier_->list();
  if (!entries) return entries;
  std::erase_if(*entries, [&](const stored_entry& e) { return !e.key.starts_with(key); });
  std::sort(entries->begin(), entries->end(), [](const auto& a, const auto& b) { return a.used > b.used; });
  return entries;
}

result<stored> store_directory::read(const std::string& key) const {
  if (!is_digest(key)) return {errc::bad_input, key + " is no key"};
  const auto path = directory_ / key.substr(0, 2) / key;
  file_handle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file && errno == ENOENT) return {errc::not_found, path.string() + " is not there"};
  if (!file) return {errc::io, "cannot open " + path.string() + ": " + std::strerror(errno)};
  auto what = read_store_file(file.get(), key);
  if (!what) return what.failure().with_context(path.string());
  return what;
}

result<void> store_directory::write(const std::string& key, const stored& what) const {
  return tier_->put(key, what);
}

result<bool> store_directory::remove(const std::string& key) const {
  return tier_->remove(key);
}

std::vector<stored_entry> to_remove(const std::vector<stored_entry>& entries, const gc_rules& rules,
                                    std::chrono::system_clock::time_point now) {
  std::vector<stored_entry> out;
  std::uint64_t kept = 0;
  for (const auto& e : entries) {
    const bool too_old = rules.age_max && now - e.used > *rules.age_max;
    const bool too_many = rules.bytes_max && kept + e.bytes > *rules.bytes_max;
    if (too_old || too_many) {
      out.push_back(e);
    } else {
      kept += e.bytes;
    }
  }
  return out;
}

result<directory_report> verify(const store_directory& directory, const std::string& key,
                                const signature_check* signatures) {
  return for_each_artifact(directory, key, signatures,
                           [](const std::string&, const stored&) { return result<void>(); });
}

result<directory_report> copy(const store_directory& from, const store_directory& to, const std::string& key,
                              const signature_check* signatures) {
  return for_each_artifact(from, key, signatures,
                           [&](const std::string& k, const stored& what) -> result<void> { return to.write(k, what); });
}

}  // namespace fxfarm
