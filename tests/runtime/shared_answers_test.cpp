#include "runtime/shared_answers.hpp"

#include <atomic>
#include <future>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

class shared_answers_test : public testing::Test {
protected:
  shared_answers_options options() {
    shared_answers_options o;
    o.kept_min = 1s;
    o.kept_max = 5s;
    o.now = [this] { return now.load(); };
    o.told = [this](std::string_view outcome) {
      std::lock_guard lock(mutex);
      ++told[std::string(outcome)];
    };
    return o;
  }
  // How often the coordinator was asked.
  shared_answers::asker coordinator(std::chrono::milliseconds takes = 0ms) {
    return [this, takes] {
      now = now.load() + takes;
      return result<std::string>("answer " + std::to_string(++asked));
    };
  }

  std::atomic<time_point> now{time_point(100s)};
  int asked = 0;
  std::mutex mutex;
  std::map<std::string, int> told;
};

std::string text(const std::shared_ptr<const shared_answers::answer>& a) {
  return *a ? **a : to_string(a->failure());
}

}  // namespace

TEST_F(shared_answers_test, asks_once_a_second_however_many_look) {
  shared_answers answers(options());
  for (int viewer = 0; viewer < 100; ++viewer) EXPECT_EQ(text(answers.get("status", coordinator())), "answer 1");
  now = now.load() + 999ms;
  EXPECT_EQ(text(answers.get("status", coordinator())), "answer 1");
  now = now.load() + 1ms;
  EXPECT_EQ(text(answers.get("status", coordinator())), "answer 2");
  EXPECT_EQ(told, (std::map<std::string, int>{{"asked", 2}, {"shared", 100}}));
}

TEST_F(shared_answers_test, keeps_what_took_long_for_ten_times_as_long_within_a_bound) {
  shared_answers answers(options());
  answers.get("slow", coordinator(300ms));
  now = now.load() + 2999ms;
  EXPECT_EQ(text(answers.get("slow", coordinator())), "answer 1");
  now = now.load() + 1ms;
  EXPECT_EQ(text(answers.get("slow", coordinator(2s))), "answer 2");
  now = now.load() + 4999ms;
  EXPECT_EQ(text(answers.get("slow", coordinator())), "answer 2");
  now = now.load() + 1ms;
  EXPECT_EQ(text(answers.get("slow", coordinator())), "answer 3");
}

TEST_F(shared_answers_test, shares_failures_too) {
  shared_answers answers(options());
  int tries = 0;
  const auto silent = [&] {
    ++tries;
    return result<std::string>(errc::timeout, "no answer");
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(text(answers.get("status", silent)), "timeout: no answer");
  EXPECT_EQ(tries, 1);
}

TEST_F(shared_answers_test, forgets_on_demand) {
  shared_answers answers(options());
  answers.get("status", coordinator());
  answers.forget();
  EXPECT_EQ(text(answers.get("status", coordinator())), "answer 2");
}

TEST_F(shared_answers_test, turns_away_more_different_questions_than_a_second_has_room_for) {
  auto o = options();
  o.per_second_max = 3;
  shared_answers answers(o);
  for (const char* question : {"a", "b", "c"}) EXPECT_TRUE(*answers.get(question, coordinator()));
  EXPECT_EQ(answers.get("d", coordinator())->failure().code, errc::busy);
  EXPECT_EQ(text(answers.get("a", coordinator())), "answer 1");
  now = now.load() + 334ms;
  EXPECT_EQ(text(answers.get("d", coordinator())), "answer 4");
  EXPECT_FALSE(*answers.get("e", coordinator()));
  EXPECT_EQ(told["turned_away"], 2);
}

TEST_F(shared_answers_test, keeps_only_so_many_and_those_that_are_newest) {
  auto o = options();
  o.answers_max = 2;
  shared_answers answers(o);
  for (const char* question : {"a", "b", "c"}) {
    answers.get(question, coordinator());
    now = now.load() + 1ms;
  }
  EXPECT_EQ(text(answers.get("b", coordinator())), "answer 2");
  EXPECT_EQ(text(answers.get("c", coordinator())), "answer 3");
  EXPECT_EQ(text(answers.get("a", coordinator())), "answer 4");
}

// A question that is being asked until it is let go.
class held_question {
public:
  explicit held_question(shared_answers& answers)
      : answers_(answers), first_(std::async(std::launch::async, [this] { return join(); })) {
    begun_.get_future().wait();
  }
  // On the caller's thread.
  std::string join() {
    return text(answers_.get("status", [this] {
      ++times_;
      begun_.set_value();
      go_.get_future().wait();
      return result<std::string>("the one");
    }));
  }
  // What the first was told.
  std::string let_go() {
    go_.set_value();
    return first_.get();
  }
  int times() const { return times_; }

private:
  shared_answers& answers_;
  std::promise<void> begun_, go_;
  std::atomic<int> times_ = 0;
  std::future<std::string> first_;
};

TEST_F(shared_answers_test, has_who_comes_meanwhile_wait_for_the_same_answer_and_turns_more_away) {
  auto o = options();
  o.asking_max = 2;
  o.joining_max = 2;
  std::promise<void> away;
  o.told = [&away, count = o.told](std::string_view outcome) {
    count(outcome);
    if (outcome == "turned_away") away.set_value();
  };
  shared_answers answers(o);
  held_question question(answers);
  std::vector<std::future<std::string>> viewers;
  for (int i = 0; i < 3; ++i) viewers.push_back(std::async(std::launch::async, [&] { return question.join(); }));
  // Whichever came last.
  away.get_future().wait();
  EXPECT_EQ(text(answers.get("other", coordinator())), "answer 1") << "those who join take no turn of who asks";
  EXPECT_EQ(question.let_go(), "the one");
  std::map<std::string, int> got;
  for (auto& v : viewers) ++got[v.get()];
  EXPECT_EQ(got, (std::map<std::string, int>{{"the one", 2}, {"busy: many wait for this answer already", 1}}));
  EXPECT_EQ(question.times(), 1);
  EXPECT_EQ(told, (std::map<std::string, int>{{"asked", 2}, {"shared", 2}, {"turned_away", 1}}));
}

TEST_F(shared_answers_test, turns_away_who_asks_something_else_while_enough_are_asking) {
  auto o = options();
  o.asking_max = 1;
  shared_answers answers(o);
  held_question question(answers);
  EXPECT_EQ(text(answers.get("other", coordinator())), "busy: others wait for answers already");
  EXPECT_EQ(question.let_go(), "the one");
  EXPECT_EQ(text(answers.get("other", coordinator())), "answer 1");
}

TEST_F(shared_answers_test, tells_what_was_thrown_and_goes_on) {
  shared_answers answers(options());
  EXPECT_EQ(text(answers.get("status", []() -> result<std::string> { throw std::runtime_error("broken"); })),
            "internal: broken");
  now = now.load() + 5s;
  EXPECT_EQ(text(answers.get("status", coordinator())), "answer 1");
}
