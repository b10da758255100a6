#include "runtime/shared_tier.hpp"

#include "runtime/limits.hpp"

#include <utility>

namespace fxfarm {
namespace {

using clock = std::chrono::steady_clock;

// Redis works, though not for this artifact.
bool blames_redis(const error& why) {
  return why.code != errc::corrupt && why.code != errc::busy && why.code != errc::too_large;
}

}  // namespace

std::string_view to_string(breaker_state state) {
  switch (state) {
    case breaker_state::closed:
      return "closed";
    case breaker_state::open:
      return "open";
    case breaker_state::half_open:
      break;
  }
  return "half_open";
}

shared_tier::shared_tier(std::unique_ptr<redis_store> reader, std::unique_ptr<redis_store> writer,
                         shared_tier_options options, std::shared_ptr<const store_reporter> reporter,
                         shared_tier_events events)
    : reader_(std::move(reader)),
      writer_(std::move(writer)),
      options_(std::move(options)),
      reporter_(std::move(reporter)),
      events_(std::move(events)),
      breaker_(options_.breaker),
      queue_(options_.queue_bytes_max, options_.queue_entries_max) {
  tell_breaker({errc::none, {}});
  reading_ = std::thread([this] { read(); });
  writing_ = std::thread([this] { write(); });
}

shared_tier::~shared_tier() {
  stop();
}

// --- whoever uses it -------------------------------------------------------------------------------------------------

void shared_tier::get(const std::string& key, answer then) {
  std::optional<stored> queued;
  bool full = false;
  {
    std::lock_guard lock(mutex_);
    const auto* waits = queue_.find(key);
    if (waits == nullptr && !stopping_ && breaker_.state() == breaker_state::closed) {
      full = questions_.size() >= limits::redis_reads_max;
      if (!full) {
        questions_.push_back({key, clock::now() + options_.read_max, std::move(then)});
        changed_.notify_all();
        return;
      }
    }
    if (waits != nullptr && waits->what) queued = *waits->what;
  }
  if (full) reporter_->failed(name, {errc::busy, "as many lookups as may wait for Redis"});
  // What waits to be written has been checked; its signer may be accepted no longer.
  if (queued && options_.signatures && options_.signatures->refuses_signer(queued->signature)) queued.reset();
  if (queued) {
    reporter_->queried(name);
    reporter_->hit(name);
    queued->tier = name;
  }
  then(std::move(queued));
}

void shared_tier::put(const std::string& key, std::shared_ptr<const stored> what) {
  if (options_.signatures && options_.signatures->refuses_signer(what->signature)) return;
  enqueue(key, std::move(what));
}

void shared_tier::remove(const std::string& key) {
  enqueue(key, nullptr);
}

void shared_tier::enqueue(const std::string& key, std::shared_ptr<const stored> what) {
  std::string_view dropped;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) {
      dropped = "shutdown";
    } else if (!queue_.push(key, std::move(what))) {
      dropped = "full";
    }
    changed_.notify_all();
  }
  if (!dropped.empty()) events_.dropped(dropped);
  tell_queue();
}

bool shared_tier::flush(time_point until) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, until, [this] { return queue_.empty() || breaker_.state() != breaker_state::closed; });
  return queue_.empty();
}

void shared_tier::stop() {
  std::deque<question> unanswered;
  std::size_t dropped = 0;
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, true)) return;
    unanswered.swap(questions_);
    changed_.notify_all();
  }
  for (auto& q : unanswered) q.then(std::nullopt);
  reading_.join();
  writing_.join();
  {
    std::lock_guard lock(mutex_);
    dropped = queue_.size();
    queue_.clear();
  }
  for (std::size_t i = 0; i < dropped; ++i) events_.dropped("shutdown");
  tell_queue();
}

// --- the reader ------------------------------------------------------------------------------------------------------

void shared_tier::read() {
  while (true) {
    std::optional<question> next;
    bool closed = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !questions_.empty(); });
      if (stopping_) return;
      next = std::move(questions_.front());
      questions_.pop_front();
      closed = breaker_.state() == breaker_state::closed;
    }
    next->then(closed ? look_up(*next) : std::nullopt);
  }
}

std::optional<stored> shared_tier::look_up(const question& q) {
  const auto begun = clock::now();
  if (begun >= q.until) {
    reporter_->failed(name, {errc::timeout, "a lookup waited too long for those before it"});
    return std::nullopt;
  }
  reporter_->queried(name);
  auto found = reader_->get(q.key, q.until);
  if (!found) {
    settle("get", begun, 0, found.failure());
    return std::nullopt;
  }
  settle("get", begun, *found ? (*found)->data->size() : 0, {});
  if (!*found || !is_trusted(q.key, **found)) return std::nullopt;
  reporter_->hit(name);
  (*found)->tier = name;
  return *std::move(found);
}

bool shared_tier::is_trusted(const std::string& key, const stored& what) {
  if (!options_.signatures) return true;
  const auto refused = options_.signatures->refuses(facts_of(key, what), what.signature);
  if (!refused) return true;
  const auto why = refused->why.with_context(key);
  reporter_->untrusted(name, refused->reason, &why);
  if (!options_.only_reads) remove(key);
  return false;
}

// --- the writer ------------------------------------------------------------------------------------------------------

void shared_tier::write() {
  while (true) {
    std::optional<write_queue::entry> next;
    {
      std::unique_lock lock(mutex_);
      while (!stopping_ && !next) {
        if (breaker_.state() == breaker_state::closed) {
          if (queue_.empty()) {
            changed_.wait(lock);
          } else {
            next = queue_.take_attempt();
          }
        } else if (clock::now() < breaker_.probe_at()) {
          changed_.wait_until(lock, breaker_.probe_at());
        } else {
          break;
        }
      }
      if (stopping_) return;
    }
    if (next) {
      write_one(*next);
    } else {
      probe();
    }
  }
}

void shared_tier::write_one(const write_queue::entry& e) {
  const auto begun = clock::now();
  const auto done = e.what ? writer_->put(e.key, *e.what) : writer_->remove(e.key);
  if (done) {
    if (e.what) events_.written();
    finish(e);
  } else if (!blames_redis(done.failure())) {
    events_.dropped(done.failure().code == errc::too_large ? "too_large" : "refused");
    finish(e);
  } else if (e.attempts >= limits::redis_write_attempts_max) {
    events_.dropped("failed");
    finish(e);
  }
  // Last: whoever waits for the breaker sees the queue as it is then.
  settle(e.what ? "put" : "remove", begun, e.what ? e.what->data->size() : 0, done);
}

void shared_tier::probe() {
  {
    std::lock_guard lock(mutex_);
    breaker_.probing();
  }
  tell_breaker({errc::none, {}});
  const auto begun = clock::now();
  const auto answered = writer_->ping();
  events_.took("ping", std::chrono::duration<double>(clock::now() - begun).count());
  {
    std::lock_guard lock(mutex_);
    if (answered) {
      breaker_.probe_succeeded();
    } else {
      breaker_.probe_failed(clock::now(), jitter());
    }
    changed_.notify_all();
  }
  tell_breaker(answered ? error{errc::none, {}} : answered.failure());
}

void shared_tier::finish(const write_queue::entry& e) {
  {
    std::lock_guard lock(mutex_);
    queue_.finish(e);
    changed_.notify_all();
  }
  tell_queue();
}

// --- both ------------------------------------------------------------------------------------------------------------

void shared_tier::settle(std::string_view operation, time_point begun, std::uint64_t bytes,
                         const result<void>& outcome) {
  const auto now = clock::now();
  const bool slow = now - begun > options_.slow + limits::transfer_time_max(bytes);
  events_.took(operation, std::chrono::duration<double>(now - begun).count());
  if (!outcome && outcome.failure().code != errc::too_large) reporter_->failed(name, outcome.failure());
  bool opened = false;
  {
    std::lock_guard lock(mutex_);
    const auto before = breaker_.state();
    if (slow || (!outcome && blames_redis(outcome.failure()))) {
      breaker_.failed(now, jitter());
    } else {
      breaker_.succeeded();
    }
    opened = breaker_.state() != before;
    if (opened) changed_.notify_all();
  }
  if (opened) tell_breaker(outcome ? error{errc::timeout, "slow answers"} : outcome.failure());
}

void shared_tier::tell_queue() {
  std::lock_guard in_order(telling_);
  std::unique_lock lock(mutex_);
  const auto bytes = queue_.bytes();
  const auto entries = queue_.size();
  lock.unlock();
  events_.queue(bytes, entries);
}

void shared_tier::tell_breaker(const error& why) {
  std::lock_guard in_order(telling_);
  std::unique_lock lock(mutex_);
  const auto state = breaker_.state();
  lock.unlock();
  events_.breaker(state, why);
}

}  // namespace fxfarm
