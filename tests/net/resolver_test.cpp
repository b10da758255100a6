// The resolver with answers of the test's own, and once with the system's.

#include "net/resolver.hpp"

#include <condition_variable>
#include <latch>
#include <memory>
#include <mutex>

#include <gtest/gtest.h>

using namespace fxfarm;
using namespace fxfarm::net;
using namespace std::chrono_literals;

namespace {

using list = std::vector<std::string>;

// What a resolver has told, to be waited for.
class told {
public:
  auto callback() {
    return [this](list endpoints, std::string problem) {
      std::lock_guard lock(mutex_);
      all_.emplace_back(std::move(endpoints), std::move(problem));
      news_.notify_all();
    };
  }
  std::vector<std::pair<list, std::string>> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    news_.wait_for(lock, 30s, [&] { return all_.size() >= count; });
    return all_;
  }

private:
  std::mutex mutex_;
  std::condition_variable news_;
  std::vector<std::pair<list, std::string>> all_;
};

}  // namespace

TEST(resolver, endpoints_without_names_are_told_at_once) {
  told said;
  resolver r({{"tcp://a:1", "ipc:///x"}, said.callback()});
  EXPECT_EQ(said.wait_for(1), (std::vector<std::pair<list, std::string>>{{{"tcp://a:1", "ipc:///x"}, ""}}));
}

TEST(resolver, tells_changes_only) {
  told said;
  int asked = 0;
  auto lookup = [&asked](const std::string& name) -> result<list> {
    EXPECT_EQ(name, "farm:7070");
    if (++asked == 1) return error{errc::unreachable, "no such name"};
    return asked < 5 ? list{"tcp://a:7070"} : list{"tcp://a:7070", "tcp://b:7070"};
  };
  resolver r({{"dns+tcp://farm:7070"}, said.callback(), lookup, 1ms});
  const std::vector<std::pair<list, std::string>> expected{
      {{}, "farm:7070: unreachable: no such name"}, {{"tcp://a:7070"}, ""}, {{"tcp://a:7070", "tcp://b:7070"}, ""}};
  EXPECT_EQ(said.wait_for(3), expected);
}

TEST(resolver, ends_while_a_lookup_hangs_and_tells_nothing_more) {
  told said;
  // Kept by whoever uses them last: the thread goes on after the resolver.
  auto asked = std::make_shared<std::latch>(1), answered = std::make_shared<std::latch>(1);
  auto ended = std::make_shared<std::latch>(1);
  {
    const std::shared_ptr<void> of_the_thread(nullptr, [ended](void*) { ended->count_down(); });
    auto lookup = [=](const std::string&) -> result<list> {
      static_cast<void>(of_the_thread);
      asked->count_down();
      answered->wait();
      return list{"tcp://a:7070"};
    };
    resolver r({{"dns+tcp://farm:7070"}, said.callback(), std::move(lookup), 1ms});
    asked->wait();
  }
  answered->count_down();
  ended->wait();
  EXPECT_TRUE(said.wait_for(0).empty());
}

TEST(resolver, asks_the_system) {
  EXPECT_EQ(system_lookup("127.0.0.1:7070").value(), list{"tcp://127.0.0.1:7070"});
  EXPECT_EQ(system_lookup("name.invalid:7070").failure().code, errc::unreachable);
}
