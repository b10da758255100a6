// Who can take a job, and what the scheduler counts of workers.
#include "scheduler_harness.hpp"

#include <functional>
#include <set>

using namespace fxfarm;
using namespace std::chrono_literals;

TEST(scheduler, a_job_goes_to_the_fitting_worker_with_the_most_free_slots) {
  scheduler s;
  s.set_worker("a", offer(2));
  s.set_worker("b", offer(3));
  s.set_worker("other", offer(9, machine("2.12.0")));
  for (const char* job : {"1", "2", "3", "4", "5", "6"}) s.enqueue({job, machine(), 0});
  EXPECT_EQ(assigned(s), "1@b 2@a 3@b 4@a 5@b");
  EXPECT_EQ(s.free_slots(), 9u);
}

TEST(scheduler, fit_is_by_platform) {
  struct {
    const char* what;
    platform worker;
    platform target;
    const char* missing;  // null: it fits
  } const cases[] = {
      {"same", machine(), machine(), nullptr},
      {"a better CPU", machine("2.13.0", "x86-64-v4"), machine(), nullptr},
      {"a worse CPU", machine("2.13.0", "x86-64-v2"), machine(), "CPU level x86-64-v3 wanted"},
      {"another torch", machine("2.12.0"), machine(), "torch 2.13.0 wanted, the worker has 2.12.0"},
  };
  for (const auto& c : cases) {
    scheduler s;
    s.set_worker("w", offer(1, c.worker));
    s.enqueue({"job", c.target, 0});
    EXPECT_EQ(assigned(s), c.missing ? "" : "job@w") << c.what;
    const auto unplaceable = s.unplaceable();
    ASSERT_EQ(unplaceable.size(), c.missing ? 1u : 0u) << c.what;
    if (!c.missing) continue;
    EXPECT_EQ(unplaceable[0].first, "job");
    EXPECT_EQ(unplaceable[0].second.code, errc::no_worker);
    EXPECT_NE(unplaceable[0].second.message.find(c.missing), std::string::npos) << unplaceable[0].second.message;
  }
}

TEST(scheduler, a_stuck_class_does_not_hold_up_the_others) {
  scheduler s;
  s.set_worker("w", offer(1));
  s.enqueue({"fits nobody", machine("2.12.0"), 0});
  s.enqueue({"fits", machine(), 5});
  EXPECT_EQ(assigned(s), "fits@w");
}

TEST(scheduler, says_what_is_missing) {
  const auto draining = [] {
    auto o = offer(2);
    o.draining = true;
    return o;
  }();
  const auto idle = offer(0);
  const auto broken = [] {
    scheduler::worker_offer o;
    o.problem = "engine_start: no module named torch";
    return o;
  }();
  struct {
    std::vector<scheduler::worker_offer> workers;
    const char* message;  // null: it fits, or may fit soon
  } const cases[] = {
      {{}, "no worker is connected"},
      {{draining}, "every worker is draining"},
      {{draining, idle}, "no worker takes jobs at the moment"},
      {{broken}, "engine_start: no module named torch"},
      {{broken, offer(1)}, nullptr},
      {{broken, scheduler::worker_offer{}}, nullptr},
      {{draining, offer(1, machine("2.12.0"))}, "torch 2.13.0 wanted, the worker has 2.12.0"},
  };
  for (const auto& c : cases) {
    scheduler s;
    for (std::size_t i = 0; i < c.workers.size(); ++i) s.set_worker(std::to_string(i), c.workers[i]);
    const auto fit = s.check_fit(machine());
    EXPECT_EQ(fit.ok(), c.message == nullptr) << (c.message ? c.message : "");
    if (c.message && !fit) {
      EXPECT_EQ(fit.failure().message, c.message);
    }
  }
}

TEST(scheduler, a_job_that_has_passed_a_limit_of_memory_goes_only_where_more_is_allowed) {
  const auto with_memory = [](std::uint64_t bytes) {
    auto o = offer(1);
    o.engine_memory_bytes = bytes;
    return o;
  };
  const auto passed = [](std::string job, std::uint64_t bytes) {
    auto r = job_of("team", std::move(job));
    r.memory_above = bytes;
    return r;
  };
  scheduler s;
  s.set_worker("small", with_memory(100));
  s.set_worker("large", with_memory(200));
  s.set_worker("boundless", with_memory(0));
  s.enqueue(passed("past-100", 100));
  s.enqueue(passed("past-200", 200));
  s.enqueue(job_of("team", "any"));
  EXPECT_EQ(assigned(s), "past-100@large past-200@boundless any@small");
  EXPECT_EQ(s.inconsistency(), "");
  EXPECT_EQ(s.slots_for(machine(), 100), 2u);

  s.remove_worker("boundless");
  s.enqueue(passed("past-200-again", 200));
  ASSERT_EQ(s.unplaceable().size(), 1u);
  EXPECT_EQ(s.unplaceable().front().first, "past-200-again");
  EXPECT_EQ(s.unplaceable().front().second.code, errc::no_worker);
  s.release("past-100");
  EXPECT_EQ(assigned(s), "");
  s.set_worker("large", with_memory(201));
  EXPECT_EQ(assigned(s), "past-200-again@large");
  EXPECT_EQ(s.inconsistency(), "");
}

TEST(scheduler, what_any_worker_can_do_is_left_to_those_with_little_memory) {
  scheduler s;
  auto little = offer(1);
  little.engine_memory_bytes = 100;
  s.set_worker("much", offer(1));
  s.set_worker("little", little);
  s.enqueue(job_of("team", "any"));
  EXPECT_EQ(assigned(s), "any@little");
}

TEST(scheduler, jobs_wait_for_a_worker_that_starts) {
  scheduler s;
  s.set_worker("w", {});
  s.enqueue({"job", machine(), 0});
  EXPECT_EQ(assigned(s), "");
  EXPECT_TRUE(s.unplaceable().empty());
  s.set_worker("w", offer(1));
  EXPECT_EQ(assigned(s), "job@w");
}

TEST(scheduler, a_worker_that_drains_gets_nothing_but_keeps_what_it_runs) {
  scheduler s;
  s.set_worker("w", offer(2));
  s.enqueue({"1", machine(), 0});
  EXPECT_EQ(assigned(s), "1@w");
  auto draining = offer(2);
  draining.draining = true;
  s.set_worker("w", draining);
  s.enqueue({"2", machine(), 0});
  EXPECT_EQ(assigned(s), "");
  EXPECT_EQ(s.free_slots(), 0u);
  EXPECT_EQ(s.workers().at(0).busy, 1u);
  EXPECT_EQ(s.unplaceable().size(), 1u);
}

TEST(scheduler, fewer_slots_than_jobs_leave_none_free) {
  scheduler s;
  s.set_worker("w", offer(3));
  for (const char* job : {"1", "2", "3", "4"}) s.enqueue({job, machine(), 0});
  EXPECT_EQ(s.assign().size(), 3u);
  s.set_worker("w", offer(1));
  EXPECT_EQ(s.free_slots(), 0u);
  s.release("1");
  s.release("2");
  EXPECT_EQ(assigned(s), "");
  s.release("3");
  EXPECT_EQ(assigned(s), "4@w");
}

TEST(scheduler, a_cancelled_job_is_not_assigned) {
  scheduler s;
  s.enqueue({"1", machine(), 0});
  s.enqueue({"2", machine(), 0});
  EXPECT_TRUE(s.cancel("1"));
  EXPECT_FALSE(s.cancel("1"));
  EXPECT_FALSE(s.cancel("never heard of"));
  EXPECT_EQ(s.queued(), 1u);
  s.set_worker("w", offer(2));
  EXPECT_EQ(assigned(s), "2@w");
  EXPECT_FALSE(s.cancel("2")) << "it is not queued any longer";
}

TEST(scheduler, a_job_frees_its_slot_once) {
  scheduler s;
  s.set_worker("w", offer(2));
  s.enqueue({"1", machine()});
  s.enqueue({"2", machine()});
  s.assign();
  for (const char* job : {"1", "1", "never heard of"}) s.release(job);
  EXPECT_EQ(s.workers().at(0).busy, 1u);
  EXPECT_EQ(s.free_slots(), 1u);
}

TEST(scheduler, a_removed_worker_takes_its_slots_along) {
  scheduler s;
  s.set_worker("w", offer(2));
  s.enqueue({"1", machine(), 0});
  s.enqueue({"2", machine(), 0});
  s.enqueue({"3", machine(), 0});
  s.assign();
  s.remove_worker("w");
  s.release("1");
  EXPECT_EQ(s.free_slots(), 0u);
  EXPECT_EQ(assigned(s), "");
  EXPECT_EQ(s.unplaceable().size(), 1u);
  EXPECT_TRUE(s.workers().empty());
}

TEST(scheduler, a_workers_state_has_one_word) {
  struct {
    scheduler::worker_view view;
    const char* word;
  } const cases[] = {
      {{"w", {}, 0}, "starting"},
      {{"w", offer(1), 0}, "idle"},
      {{"w", offer(1), 1}, "busy"},
      {{"w", {machine(), 1, 0, true, {}}, 1}, "draining"},
      {{"w", {{}, 0, 0, false, "no torch"}, 0}, "unavailable"},
  };
  for (const auto& c : cases) EXPECT_EQ(to_string(state_of(c.view)), c.word);
}

TEST(scheduler, a_job_leaves_alone_the_workers_that_few_can_do_without) {
  struct {
    const char* what;
    platform better;
    platform target;
    const char* order;
  } const cases[] = {
      {"a CPU that others need", machine("2.13.0", "x86-64-v4"), machine(), "1@plain 2@better"},
      {"a GPU", with_gpu(), machine(), "1@plain 2@better"},
      {"unless it needs them", with_gpu(), with_gpu(), "1@better 2@better"},
  };
  for (const auto& c : cases) {
    scheduler s;
    s.set_worker("better", offer(5, c.better));
    s.set_worker("plain", offer(1));
    s.enqueue({"1", c.target});
    s.enqueue({"2", c.target});
    EXPECT_EQ(assigned(s), c.order) << c.what;
  }
}

TEST(scheduler, those_with_different_salts_begin_with_different_workers) {
  const auto begins_with = [](const char* salt) {
    scheduler s(salt);
    std::set<std::string> out;
    for (int i = 0; i < 100; ++i) s.set_worker("w" + std::to_string(i), offer(1));
    for (int i = 0; i < 10; ++i) s.enqueue({std::to_string(i), machine()});
    for (const auto& a : s.assign()) out.insert(a.worker);
    return out;
  };
  EXPECT_EQ(begins_with("farm-0"), begins_with("farm-0"));
  EXPECT_NE(begins_with("farm-0"), begins_with("farm-1"));
}

TEST(scheduler, what_does_not_decide_who_fits_makes_no_other_class) {
  scheduler s;
  auto threads = machine();
  threads.threads = 64;
  auto triton = machine();
  triton.triton = "3.6.0";
  s.set_worker("w", offer(3, with_gpu()));
  s.enqueue({"1", machine()});
  s.enqueue({"2", threads});
  s.enqueue({"3", triton});
  EXPECT_EQ(assigned(s), "1@w 2@w 3@w");
}

TEST(scheduler, a_worker_that_says_it_is_full_gets_nothing_until_it_shows_otherwise) {
  struct {
    const char* what;
    std::function<void(scheduler&)> happens;
    const char* then;
  } const cases[] = {
      {"nothing", [](scheduler&) {}, ""},
      {"it ends a job", [](scheduler& s) { s.release("1"); }, "2@w 3@w"},
      {"it offers anew", [](scheduler& s) { s.set_worker("w", offer(3)); }, "2@w 3@w"},
      {"it is trusted again", [](scheduler& s) { s.trust_again(); }, "2@w 3@w"},
      {"it is gone and comes back",
       [](scheduler& s) {
         s.remove_worker("w");
         s.trust_again();
         s.set_worker("w", offer(2));
       },
       "2@w 3@w"},
  };
  for (const auto& c : cases) {
    scheduler s;
    s.set_worker("w", offer(3));
    s.enqueue({"1", machine()});
    s.enqueue({"2", machine()});
    EXPECT_EQ(assigned(s), "1@w 2@w");
    s.release("2");
    s.mark_full("w");
    EXPECT_EQ(s.free_slots(), 0u) << c.what;
    s.enqueue({"2", machine()});
    s.enqueue({"3", machine()});
    EXPECT_EQ(assigned(s), "") << c.what;
    EXPECT_TRUE(s.unplaceable().empty()) << "it is only full";
    c.happens(s);
    EXPECT_EQ(assigned(s), c.then) << c.what;
    EXPECT_EQ(s.inconsistency(), "") << c.what;
  }
}

TEST(scheduler, counts_are_kept) {
  scheduler s;
  s.set_worker("starting", {});
  s.set_worker("idle", offer(4));
  s.set_worker("busy", offer(2, machine("2.12.0")));
  s.set_worker("draining", {machine(), 3, 0, true, {}});
  s.set_worker("broken", {{}, 0, 0, false, "no torch"});
  s.enqueue({"1", machine("2.12.0")});
  EXPECT_EQ(assigned(s), "1@busy");
  for (const auto state : {worker_state::starting, worker_state::idle, worker_state::busy, worker_state::draining,
                           worker_state::unavailable}) {
    EXPECT_EQ(s.count(state), 1u) << to_string(state);
  }
  EXPECT_EQ(s.slots(), 6u);
  EXPECT_EQ(s.free_slots(), 5u);
  EXPECT_EQ(*s.worker_of("1"), "busy");
  for (const char* id : {"starting", "idle", "busy", "draining", "broken"}) s.remove_worker(id);
  EXPECT_EQ(s.slots(), 0u);
  EXPECT_EQ(s.worker_of("1"), nullptr);
  EXPECT_EQ(s.inconsistency(), "");
}

TEST(scheduler, a_job_that_was_not_assigned_here_has_a_slot_all_the_same) {
  scheduler s;
  s.enqueue({"queued", machine()});
  s.occupy("queued", "w", "s");
  EXPECT_EQ(s.queued(), 0u);
  EXPECT_TRUE(s.check_fit(machine())) << "it will say what it offers";
  s.set_worker("w", offer(1));
  EXPECT_EQ(s.free_slots(), 0u);
  EXPECT_EQ(*s.worker_of("queued"), "w");
  s.release("queued");
  EXPECT_EQ(s.free_slots(), 1u);
}

TEST(scheduler, slots_that_others_have_taken_are_not_free) {
  scheduler s;
  auto shared = offer(3);
  shared.taken = 2;
  s.set_worker("w", shared);
  s.enqueue({"a", machine()});
  s.enqueue({"b", machine()});
  EXPECT_EQ(s.assign().size(), 1u);
  shared.taken = 7;
  s.set_worker("w", shared);
  EXPECT_EQ(s.free_slots(), 0u);
  EXPECT_TRUE(s.unplaceable().empty()) << "they will be free again";
}
