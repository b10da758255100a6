#include "runtime/kernel_table.hpp"

#include <utility>

namespace fxfarm {

bool kernel_table::has_room(const std::string& job) const {
  const auto found = of_job_.find(job);
  const auto struck = strikes_.find(job);
  return (found == of_job_.end() ? 0 : found->second) < per_job_ &&
         (struck == strikes_.end() || struck->second < limits::kernel_strikes_max);
}

std::set<std::string> kernel_table::unwilling(const std::string& scope) const {
  std::set<std::string> workers;
  for (auto at = unwilling_.lower_bound({scope, {}}); at != unwilling_.end() && at->first == scope; ++at) {
    workers.insert(at->second);
  }
  return workers;
}

const kernel_table::lent& kernel_table::start(wanted what, const std::string& helper, std::string key,
                                              std::string scope, time_point now, std::chrono::milliseconds transfer) {
  auto id = next_id();
  ++last_;
  ++of_job_[what.job];
  lent one{id, std::move(what), helper, std::move(key), std::move(scope), now + deadline_ + transfer};
  return lent_.emplace(std::move(id), std::move(one)).first->second;
}

const kernel_table::lent* kernel_table::find(const std::string& helper, const std::string& id) const {
  const auto found = lent_.find(id);
  return found == lent_.end() || found->second.helper != helper ? nullptr : &found->second;
}

kernel_table::lent kernel_table::take(text_map<lent>::iterator at) {
  const auto job = of_job_.find(at->second.what.job);
  if (--job->second == 0) of_job_.erase(job);
  auto taken = std::move(at->second);
  lent_.erase(at);
  return taken;
}

std::optional<kernel_table::lent> kernel_table::finish(const std::string& helper, const std::string& id) {
  if (!find(helper, id)) return std::nullopt;
  return take(lent_.find(id));
}

template <class F>
std::vector<kernel_table::lent> kernel_table::take_if(F&& ended) {
  std::vector<std::string> ids;
  for (const auto& [id, one] : lent_) {
    if (ended(one)) ids.push_back(id);
  }
  std::vector<lent> out;
  for (const auto& id : ids) out.push_back(take(lent_.find(id)));
  return out;
}

std::vector<kernel_table::lent> kernel_table::worker_lost(const std::string& helper) {
  return take_if([&](const lent& one) { return one.helper == helper; });
}

std::vector<kernel_table::lent> kernel_table::expire(time_point now) {
  return take_if([&](const lent& one) { return now >= one.until; });
}

}  // namespace fxfarm
