#include "client/client.hpp"

#include "../monitoring/http_get.hpp"
#include "runtime/limits.hpp"
#include "scripted_farm.hpp"
#include "tests/runtime/signers.hpp"

#include <fstream>
#include <future>
#include <thread>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace fxfarm;
using namespace std::chrono_literals;

namespace {

const std::string graph_key(64, 'a');
const std::string salt = "salt";

graph_request request_for(std::initializer_list<const char*> stages) {
  graph_request r;
  r.graph_key = graph_key;
  r.name = "model";
  r.graph = make_blob(to_bytes("graph"));
  for (const char* name : stages) r.stages.push_back({name, {}});
  r.target.torch = "2.13.0";
  return r;
}

std::string key_of(const char* stage) {
  const auto r = request_for({stage});
  return make_stage_key(graph_key, r.target, r.stages.front(), salt);
}

class client_test : public ::testing::Test {
protected:
  void start(std::vector<std::string> local_command = {}, bool only_local = false) {
    client_options o;
    if (!only_local) o.endpoints = {endpoint};
    o.local_endpoint = only_local ? endpoint : "";
    o.local_command = std::move(local_command);
    o.salt = salt;
    o.metrics = metrics;
    o.signers = signers;
    o.calls = [] { return call_counts{7, 9}; };
    auto started = client::start(o, [this](load_task t) { loads.put(std::move(t)); });
    ASSERT_TRUE(started) << to_string(started.failure());
    c = std::move(*started);
  }
  std::uint64_t submit(std::initializer_list<const char*> stages = {"default"}) {
    auto id = c->submit(request_for(stages));
    EXPECT_TRUE(id);
    return id ? *id : 0;
  }
  // A stage whose artifact has come and waits for its loader.
  load_task pending_load() {
    submit();
    farm.serve(farm.next<net::lookup>(), salt);
    return loads.take();
  }

  std::string metrics;  // address
  std::string signers;  // a file
  scratch_directory directory;
  const std::string endpoint = "ipc://" + directory.file("farm.sock");
  mailbox<load_task> loads;
  scripted_farm farm{endpoint};
  std::unique_ptr<client> c;
};

}  // namespace

TEST_F(client_test, options_and_requests_that_cannot_be_used_are_refused) {
  EXPECT_EQ(client::start({}, {}).failure().code, errc::bad_input);
  client_options odd;
  odd.endpoints = {"http://farm"};
  EXPECT_EQ(client::start(odd, {}).failure().code, errc::bad_input);
  start();
  auto no_key = request_for({"default"});
  no_key.graph_key = "key";
  EXPECT_EQ(c->submit(no_key).failure().code, errc::bad_input);
  auto no_graph = request_for({"default"});
  no_graph.graph = nullptr;
  EXPECT_EQ(c->submit(no_graph).failure().code, errc::bad_input);
  EXPECT_EQ(c->submit(request_for({})).failure().code, errc::bad_input);
  EXPECT_TRUE(c->graphs().empty());
}

TEST_F(client_test, a_graph_is_asked_for_sent_compiled_loaded_and_reported) {
  start();
  const auto id = submit();
  const auto asked = farm.next<net::lookup>();
  EXPECT_EQ(asked.what.graph_key, graph_key);
  EXPECT_EQ(asked.what.graph_bytes, 5u);
  farm.send(asked.from, net::need_graph{graph_key});
  const auto sent = farm.next<net::submit>();
  ASSERT_TRUE(sent.attachment);
  EXPECT_EQ(text_of(*sent.attachment), "graph");
  EXPECT_EQ(c->wait("", 0ms), wait_result::timed_out);
  farm.send(asked.from, net::stage_ready{graph_key, key_of("default"), "worker-1", 0.5, {{"lower", 2}}},
            make_blob(to_bytes("artifact")));
  const auto task = loads.take();
  EXPECT_EQ(task.graph, id);
  EXPECT_EQ(task.stage_key, key_of("default"));
  EXPECT_EQ(text_of(*task.artifact), "artifact");
  task.done({});
  const auto switched = farm.next<net::switched>().what;
  EXPECT_EQ(switched.stage, "default");
  EXPECT_EQ(switched.error, "");
  EXPECT_EQ(c->wait("", patience), wait_result::reached);
  const auto graph = c->graphs().at(0);
  EXPECT_TRUE(graph.settled);
  EXPECT_EQ(graph.stage, "default");
  EXPECT_EQ(graph.farm, endpoint);
  EXPECT_EQ(graph.stages.at(0).source, "worker-1");
  EXPECT_EQ(graph.stages.at(0).phases.at("lower"), 2);
  EXPECT_EQ(c->stats()["stages_loaded"], 1u);
  EXPECT_EQ(c->stats()["graphs_sent"], 1u);
  c->reset_stats();
  EXPECT_EQ(c->stats()["stages_loaded"], 0u);
}

TEST_F(client_test, serves_metrics_where_it_is_asked_to) {
  start();
  EXPECT_EQ(c->metrics_address(), "");
  metrics = "127.0.0.1:0";
  start();
  const auto address = c->metrics_address();
  auto page = http_get(address, "/metrics");
  EXPECT_NE(page.find("\nfxfarm_client_calls_total{ran=\"compiled\"} 9\n"), std::string::npos) << page;
  EXPECT_NE(page.find("\nfxfarm_client_request_to_switch_seconds_count{stage=\"default\"} 0\n"), std::string::npos);
  pending_load().done({});
  EXPECT_EQ(c->wait("", patience), wait_result::reached);
  c->reset_stats();
  page = http_get(address, "/metrics");
  EXPECT_NE(page.find("\nfxfarm_client_request_to_switch_seconds_count{stage=\"default\"} 1\n"), std::string::npos);
  EXPECT_NE(page.find("\nfxfarm_client_graphs{stage=\"default\"} 1\n"), std::string::npos);
  EXPECT_NE(page.find("\nfxfarm_client_lookups_total 1\n"), std::string::npos);
  EXPECT_TRUE(http_get(address, "/readyz").starts_with("HTTP/1.1 200"));
  c.reset();
  EXPECT_EQ(http_get(address, "/metrics"), "");
}

TEST_F(client_test, goes_without_metrics_where_they_cannot_be_served) {
  metrics = "127.0.0.1:0";
  start();
  const auto first = std::move(c);
  metrics = first->metrics_address();
  start();
  EXPECT_EQ(c->metrics_address(), "");
  submit();
  farm.next<net::lookup>();
}

TEST_F(client_test, a_corrupt_artifact_is_asked_for_again) {
  start();
  pending_load().done({errc::corrupt, "signature"});
  EXPECT_EQ(farm.next<net::switched>().what.error, "corrupt");
  const auto again = farm.next<net::lookup>();
  EXPECT_EQ(again.what.refused, std::vector<std::string>{key_of("default")});
  farm.serve(again, salt);
  loads.take().done({});
  EXPECT_EQ(c->wait("default", patience), wait_result::reached);
}

TEST_F(client_test, a_stage_that_fails_on_the_farm_or_in_the_loader_ends_the_wait) {
  start();
  pending_load().done({errc::io, "no space left"});
  EXPECT_EQ(c->wait("", patience), wait_result::failed);
  EXPECT_EQ(c->graphs().at(0).stages.at(0).error, "io: no space left");
  const auto id = submit();
  const auto asked = farm.next<net::lookup>();
  farm.send(asked.from, net::stage_failed{graph_key, key_of("default"), "compile_failed", "no such operator", 0});
  c->release(1);
  EXPECT_EQ(c->wait("", patience), wait_result::failed);
  for (const auto& g : c->graphs()) {
    if (g.id == id) {
      EXPECT_EQ(g.stages.at(0).error, "compile_failed: no such operator");
    }
  }
}

TEST_F(client_test, a_released_graph_is_released_at_the_farm_and_waited_for_no_more) {
  start();
  const auto id = submit({"default", "max-autotune"});
  farm.next<net::lookup>();
  c->release(id);
  EXPECT_EQ(farm.next<net::release>().what.stage_keys,
            (std::vector<std::string>{key_of("default"), key_of("max-autotune")}));
  EXPECT_EQ(c->wait("", patience), wait_result::reached) << "nothing is left to wait for";
  EXPECT_TRUE(c->graphs().empty());
}

TEST_F(client_test, a_load_may_be_answered_after_the_client_is_gone) {
  start();
  auto task = pending_load();
  c.reset();
  task.done({});
  task.done({errc::corrupt, "late"});
}

TEST_F(client_test, loads_may_be_answered_while_the_client_goes) {
  for (int i = 0; i < 8; ++i) {
    start();
    auto task = pending_load();
    std::thread loader([task = std::move(task)]() mutable {
      task.done({});
      task = {};
    });
    c.reset();
    loader.join();
  }
}

TEST_F(client_test, ends_on_another_thread_while_the_one_that_started_it_goes_on) {
  std::promise<void> started, ended;
  std::thread starter([&] {
    start();
    submit();
    started.set_value();
    ended.get_future().wait();
  });
  started.get_future().wait();
  c.reset();
  ended.set_value();
  starter.join();
}

TEST_F(client_test, every_thread_that_waits_is_woken) {
  start();
  auto task = pending_load();
  mailbox<wait_result> answers;
  std::vector<std::thread> threads;
  for (const char* stage : {"", "default", "", "default"}) {
    threads.emplace_back([&, stage] { answers.put(c->wait(stage, patience)); });
  }
  task.done({});
  for (auto& t : threads) {
    t.join();
    EXPECT_EQ(answers.take(), wait_result::reached);
  }
}

TEST_F(client_test, threads_may_submit_and_release_at_once) {
  start();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        auto id = c->submit(request_for({"default"}));
        c->graphs();
        c->release(*id);
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(c->wait("", patience), wait_result::reached);
  EXPECT_TRUE(c->graphs().empty());
  EXPECT_EQ(c->stats()["graphs"], 80u);
}

TEST_F(client_test, a_child_of_a_fork_abandons_its_client_and_starts_another) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer allows no threads in the child of a process that has some";
#elif defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer's allocator keeps the locks that other threads held at the fork";
#endif
  start();
  auto held = pending_load();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    c->abandon();
    static_cast<void>(c.release());
    client_options o;
    o.endpoints = {endpoint};
    o.salt = salt;
    auto own = client::start(o, [](load_task t) { t.done({}); });
    if (!own || !(*own)->submit(request_for({"default"}))) ::_exit(1);
    const auto outcome = (*own)->wait("", patience);
    own->reset();
    ::_exit(outcome == wait_result::reached ? 0 : 2);
  }
  farm.serve(farm.next<net::lookup>(), salt);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  held.done({});
  EXPECT_EQ(c->wait("", patience), wait_result::reached) << "the parent's goes on";
}

TEST_F(client_test, the_local_farm_is_started_and_serves) {
  start({"true"}, true);
  pending_load().done({});
  EXPECT_EQ(c->wait("", patience), wait_result::reached);
  EXPECT_GE(c->stats()["local_farms_started"], 1u);
}

TEST_F(client_test, a_local_farm_that_hangs_as_it_starts_holds_up_nothing) {
  const auto pipe = directory.file("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  start({"sh", "-c", "echo $$ >" + pipe + "; exec sleep 1000"}, true);
  const auto id = submit();
  std::unique_ptr<FILE, int (*)(FILE*)> from(::fopen(pipe.c_str(), "r"), ::fclose);
  ASSERT_TRUE(from);
  int pid = 0;
  ASSERT_EQ(::fscanf(from.get(), "%d", &pid), 1);
  c->release(id);
  EXPECT_EQ(c->wait("", patience), wait_result::reached);
  c.reset();
  EXPECT_EQ(::kill(pid, 0), 0) << "it is still starting";
  ::kill(pid, SIGKILL);
}

TEST_F(client_test, a_farm_on_another_host_wants_signers_as_it_wants_keys) {
  client_options o;
  o.endpoints = {"tcp://192.0.2.1:7070"};
  o.key = "key";
  o.server_public_key = {std::string(40, '0')};
  const auto refused = client::start(o, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code, errc::bad_input);
  EXPECT_NE(refused.failure().message.find("give signers, a file with a line"), std::string::npos);
  o = {};
  o.endpoints = {endpoint};
  o.signers = directory.file("signers");
  EXPECT_EQ(client::start(o, {}).failure().message,
            "signers: " + o.signers + " cannot be read: No such file or directory");
}

TEST_F(client_test, an_artifact_that_no_signer_vouches_for_never_comes_to_the_loader) {
  const auto signer = testing_signers::new_signer();
  signers = directory.file("signers");
  std::ofstream(signers) << "signer * " << signer.public_key() << "\n";
  ASSERT_EQ(::chmod(signers.c_str(), 0644), 0);
  start();
  submit();
  const auto asked = farm.next<net::lookup>();
  const auto code = to_bytes("code");
  net::stage_ready forged{graph_key, key_of("default"), "memory", 0, {}};
  forged.signature = {signer.public_key(), std::string(128, '0')};
  farm.send(asked.from, forged, make_blob(code));
  EXPECT_EQ(farm.next<net::switched>().what.error, "untrusted");
  // What is signed in a stream, whose bytes come in parts, is loaded.
  submit();
  farm.next<net::lookup>();
  const auto large = fxfarm::bytes(limits::enclosed_bytes_max + 1);
  net::stage_ready good{graph_key, key_of("default"), "memory", 0, {}};
  good.signature = testing_signers::signed_by(signer, key_of("default"), large);
  farm.send(asked.from, good, make_blob(large));
  auto task = loads.take();
  EXPECT_EQ(task.artifact->size(), large.size());
  task.done({});
  EXPECT_EQ(farm.next<net::switched>().what.error, "");
  EXPECT_EQ(c->stats()["artifacts_untrusted"], 1u);
  EXPECT_EQ(c->stats()["stages_loaded"], 1u);
}
