#include "config_given.hpp"

#include <set>

#include <gtest/gtest.h>

namespace fxfarm {
namespace {

TEST(config, takes_the_flag_then_the_variable_then_the_file_then_the_default) {
  const environment variable{{"FXFARM_MEMORY_BYTES", "2MiB"}};
  const std::string toml = "[coordinator]\nmemory_bytes = \"3MiB\"\n";
  struct row {
    config_inputs in;
    std::uint64_t bytes;
    config_source source;
    std::string where;
  };
  const row rows[] = {
      {inputs({"--memory-bytes", "1MiB"}, variable, toml), limits::MiB, config_source::flag, "flag --memory-bytes"},
      {inputs({"--memory-bytes=1MiB"}, variable, toml), limits::MiB, config_source::flag, "flag --memory-bytes"},
      {inputs({}, variable, toml), 2 * limits::MiB, config_source::variable, "variable FXFARM_MEMORY_BYTES"},
      {inputs({}, {}, toml), 3 * limits::MiB, config_source::file, "/etc/fxfarm.toml:2:16"},
      {inputs(), limits::store_memory_bytes, config_source::standard, "default"},
  };
  for (const auto& r : rows) {
    auto got = parse_coordinator(r.in);
    ASSERT_TRUE(got) << message(got);
    EXPECT_EQ(got->config.memory_bytes, r.bytes) << r.where;
    EXPECT_EQ(got->values.at("memory_bytes").source, r.source) << r.where;
    EXPECT_EQ(got->values.at("memory_bytes").where, r.where);
  }
}

TEST(config, refuses_what_is_unknown_or_not_allowed_with_its_name_what_is_allowed_and_where_it_stood) {
  struct row {
    config_inputs in;
    std::string said;
  };
  const row rows[] = {
      {inputs({"--memory-bytes", "much"}),
       "bad_config: memory_bytes: \"much\" is not allowed, want bytes such as 4096, 64KiB or 2GiB (flag "
       "--memory-bytes)"},
      {inputs({}, {{"FXFARM_CACHE_BYTES", "-1"}}),
       "bad_config: cache_bytes: \"-1\" is not allowed, want bytes such as 4096, 64KiB or 2GiB "
       "(variable FXFARM_CACHE_BYTES)"},
      {inputs({}, {}, "[coordinator]\n\njob_deadline = \"30\"\n"),
       "bad_config: job_deadline: \"30\" is not allowed, want a duration such as 500ms, 30s or 2h "
       "(/etc/fxfarm.toml:3:16)"},
      {inputs({"--job-deadline", "0s"}),
       "bad_config: job_deadline: \"0s\" is not allowed, want a duration such as 500ms, 30s or 2h (flag "
       "--job-deadline)"},
      {inputs({"--job-attempts", "0"}),
       "bad_config: job_attempts: \"0\" is not allowed, want a number from 1 to 100 (flag --job-attempts)"},
      {inputs({"--log-level", "loud"}),
       "bad_config: log_level: \"loud\" is not allowed, want one of error, warning, info, debug (flag --log-level)"},
      {inputs({"--log-format", ""}),
       "bad_config: log_format: \"\" is not allowed, want one of text, json (flag --log-format)"},
      {inputs({"--listen", "udp://127.0.0.1:1"}),
       "bad_config: listen: \"udp://127.0.0.1:1\" is not allowed, want a list of tcp://HOST:PORT or ipc:///PATH "
       "(flag --listen)"},
      {inputs({"--listen", "tcp://127.0.0.1:1,"}),
       "bad_config: listen: \"tcp://127.0.0.1:1,\" is not allowed, want a list of tcp://HOST:PORT or ipc:///PATH "
       "(flag --listen)"},
      {inputs({"--metrics", "9090"}),
       "bad_config: metrics: \"9090\" is not allowed, want HOST:PORT or off (flag --metrics)"},
      {inputs({"--metrics", "127.0.0.1:65536"}),
       "bad_config: metrics: \"127.0.0.1:65536\" is not allowed, want HOST:PORT or off (flag --metrics)"},
      {inputs({"--cache-dir", ""}), "bad_config: cache_dir: \"\" is not allowed, want a path (flag --cache-dir)"},
      {inputs({"--salt", "two\nlines"}),
       "bad_config: salt: \"two\nlines\" is not allowed, want one line of text (flag --salt)"},
      {inputs({"--insecure=perhaps"}),
       "bad_config: insecure: \"perhaps\" is not allowed, want true or false (flag --insecure)"},
      {inputs({}, {}, "[coordinator]\nmemory_bytes = 1.5\n"),
       "bad_config: memory_bytes: want bytes such as 4096, 64KiB or 2GiB (/etc/fxfarm.toml:2:16)"},
      {inputs({}, {}, "[coordinator]\nsalt = [\"a\", \"b\"]\n"),
       "bad_config: salt: want one line of text (/etc/fxfarm.toml:2:8)"},
      {inputs({"--memory"}), "bad_config: unknown flag --memory; did you mean --memory-bytes?"},
      {inputs({"--listne=tcp://127.0.0.1:1"}), "bad_config: unknown flag --listne; did you mean --listen?"},
      {inputs({"--zzzzzz"}), "bad_config: unknown flag --zzzzzz"},
      {inputs({"extra"}), "bad_config: unexpected argument \"extra\""},
      {inputs({"--salt", "a", "--salt", "b"}), "bad_config: flag --salt is given more than once"},
      {inputs({}, {{"FXFARM_MEMORY_BITES", "1"}}),
       "bad_config: unknown variable FXFARM_MEMORY_BITES; did you mean FXFARM_MEMORY_BYTES?"},
      {inputs({}, {}, "[coordinator]\nmemory_bites = 1\n"),
       "bad_config: unknown key \"memory_bites\" in [coordinator] (/etc/fxfarm.toml:2:1); did you mean memory_bytes?"},
      {inputs({}, {}, "log_levle = \"info\"\n"),
       "bad_config: unknown key \"log_levle\" in the top level (/etc/fxfarm.toml:1:1); did you mean log_level?"},
      {inputs({}, {}, "[worker]\nslotz = 1\n"),
       "bad_config: unknown key \"slotz\" in [worker] (/etc/fxfarm.toml:2:1); did you mean slots?"},
      {inputs({}, {}, "[cordinator]\n"),
       "bad_config: unknown table [cordinator] (/etc/fxfarm.toml:1:2); did you mean coordinator?"},
      {inputs({"--config", "/nowhere.toml"}), "bad_config: config: /nowhere.toml does not exist"},
  };
  for (const auto& r : rows) EXPECT_EQ(message(parse_coordinator(r.in)), r.said);
}

TEST(config, tells_line_and_column_of_a_file_that_is_no_toml) {
  auto got = parse_coordinator(inputs({}, {}, "[coordinator]\nsalt = \n"));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.failure().code, errc::bad_config);
  EXPECT_TRUE(got.failure().message.starts_with("/etc/fxfarm.toml:2:8: ")) << got.failure().message;
}

TEST(config, tells_which_flag_lacks_its_value) {
  auto got = parse_coordinator(inputs({"--salt"}));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.failure().code, errc::bad_config);
  EXPECT_NE(got.failure().message.find("--salt"), std::string::npos) << got.failure().message;
}

TEST(config, passes_over_variables_of_other_roles_and_of_the_python_package) {
  auto got = parse_coordinator(inputs({}, {{"FXFARM_SLOTS", "4"}, {"FXFARM_STAGES", "default"}, {"FXFARM_LOG", "x"}},
                                      "[client]\nstages = [\"default\"]\n[worker]\nslots = 3\n"));
  EXPECT_TRUE(got) << message(got);
}

TEST(config, reads_lists_from_every_source) {
  const std::vector<std::string> both{"tcp://127.0.0.1:1", "ipc:///run/f.sock"};
  const config_inputs ways[] = {
      inputs({"--listen", both[0], "--listen", both[1]}),
      inputs({"--listen", both[0] + "," + both[1]}),
      inputs({}, {{"FXFARM_LISTEN", both[0] + "," + both[1]}}),
      inputs({}, {}, "[coordinator]\nlisten = [\"" + both[0] + "\", \"" + both[1] + "\"]\n"),
  };
  for (const auto& in : ways) {
    auto got = parse_coordinator(in);
    ASSERT_TRUE(got) << message(got);
    EXPECT_EQ(got->config.listen, both);
  }
}

TEST(config, names_of_the_status_page_have_no_ports) {
  auto got = parse_coordinator(inputs({"--page-hosts", "farm,farm-0.example.com"}));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->config.page_hosts, (std::vector<std::string>{"farm", "farm-0.example.com"}));
  EXPECT_TRUE(parse_coordinator(inputs({}))->config.page_hosts.empty());
  for (const char* wrong : {"farm:9090", "http://farm", "farm,", "[::1]", "a b"}) {
    EXPECT_FALSE(parse_coordinator(inputs({"--page-hosts", wrong}))) << wrong;
  }
}

TEST(config, reads_switches_from_every_source) {
  const std::string open = "tcp://0.0.0.0:7070";
  const config_inputs ways[] = {
      inputs({"--listen", open, "--insecure"}),
      inputs({"--listen", open, "--insecure=true"}),
      inputs({"--listen", open}, {{"FXFARM_INSECURE", "1"}}),
      inputs({"--listen", open}, {}, "[coordinator]\ninsecure = true\n"),
  };
  for (const auto& in : ways) EXPECT_TRUE(parse_coordinator(in)) << message(parse_coordinator(in));
  EXPECT_FALSE(parse_coordinator(inputs({"--listen", open, "--insecure=false"}, {{"FXFARM_INSECURE", "1"}})));
}

TEST(config, refuses_an_endpoint_that_leaves_the_host_unless_insecure_is_accepted) {
  EXPECT_EQ(
      message(parse_coordinator(inputs({"--listen", "tcp://127.0.0.1:1,tcp://10.0.0.1:7070"}))),
      "bad_config: listen: tcp://10.0.0.1:7070 leaves this host and would not be encrypted; give --server-key and "
      "--authorized-keys, use ipc:// or a loopback address, or accept that with --insecure (flag --listen)");
  EXPECT_FALSE(parse_worker(inputs({"--coordinators", "tcp://farm-0:7070"})));
  auto accepted = parse_worker(inputs({"--coordinators", "tcp://farm-0:7070", "--insecure"}));
  ASSERT_TRUE(accepted);
  EXPECT_EQ(accepted->config.coordinators, std::vector<std::string>{"tcp://farm-0:7070"});
}

TEST(config, takes_an_endpoint_that_leaves_the_host_with_keys_and_both_ends_of_them) {
  const std::string far = "tcp://farm-0:7070";
  const std::string listening = "tcp://0.0.0.0:7070";
  EXPECT_TRUE(parse_coordinator(inputs({"--listen", listening, "--server-key", "/k", "--authorized-keys", "/a"})));
  EXPECT_TRUE(parse_worker(
      inputs({"--coordinators", far, "--secret-key", "/k", "--server-public-key", "/s", "--signing-key", "/g"})));
  EXPECT_TRUE(parse_client(inputs({"--endpoint", far, "--secret-key", "/k", "--server-public-key", "/s"})));
  EXPECT_TRUE(parse_client(inputs({"--endpoint", far}, {{"FXFARM_INSECURE", "true"}})));
  EXPECT_TRUE(parse_client(inputs({"--endpoint", "tcp://127.0.0.1:7070"})));
  const std::pair<std::string, std::string> cases[] = {
      {message(parse_client(inputs({"--endpoint", far}))),
       "bad_config: endpoint: tcp://farm-0:7070 leaves this host and would not be encrypted; give --secret-key and "
       "--server-public-key, use ipc:// or a loopback address, or accept that with --insecure (flag --endpoint)"},
      {message(parse_coordinator(inputs({"--server-key", "/k"}))),
       "bad_config: server_key: wants authorized_keys, too (flag --server-key)"},
      {message(parse_coordinator(inputs({"--insecure", "--authorized-keys", "/a"}))),
       "bad_config: authorized_keys: wants server_key, too (flag --authorized-keys)"},
      {message(parse_worker(inputs({"--coordinators", far, "--insecure", "--secret-key", "/k"}))),
       "bad_config: secret_key: wants server_public_key, too (flag --secret-key)"},
      {message(parse_worker(inputs({}, {{"FXFARM_SERVER_PUBLIC_KEY", "/s"}}))),
       "bad_config: server_public_key: wants secret_key, too (variable FXFARM_SERVER_PUBLIC_KEY)"},
      {message(parse_worker(inputs({"--secret-key", "/k", "--server-public-key", "/s"}))),
       "bad_config: secret_key: wants signing_key, too, since a coordinator with keys takes only what is signed; "
       "`fxfarm keygen --signing` makes one (flag --secret-key)"},
  };
  for (const auto& [got, why] : cases) EXPECT_EQ(got, why);
}

TEST(config, has_as_many_server_keys_as_are_given) {
  const auto got = parse_worker(inputs(
      {"--secret-key", "/k", "--signing-key", "/g", "--server-public-key", "/a,/b", "--server-public-key", "/c"}));
  ASSERT_TRUE(got) << message(got);
  EXPECT_EQ(got->config.server_public_key, (std::vector<std::string>{"/a", "/b", "/c"}));
  const auto list = parse_worker(
      inputs({"--secret-key", "/k", "--signing-key", "/g"}, {}, "[worker]\nserver_public_key = [\"/a\", \"/b\"]\n"));
  ASSERT_TRUE(list) << message(list);
  EXPECT_EQ(list->config.server_public_key, (std::vector<std::string>{"/a", "/b"}));
}

TEST(config, a_missing_default_file_is_no_error_and_an_existing_one_is_read) {
  auto in = inputs();
  in.read_file = [](const std::string& file) -> result<std::string> {
    if (file == "/home/ada/.config/fxfarm/config.toml") return std::string("log_level = \"debug\"\n");
    return {errc::not_found, file};
  };
  auto got = parse_coordinator(in);
  ASSERT_TRUE(got) << message(got);
  EXPECT_EQ(got->config.log_level, "debug");
  EXPECT_EQ(got->values.at("log_level").where, "/home/ada/.config/fxfarm/config.toml:1:13");

  in.read_file = [](const std::string& file) -> result<std::string> { return {errc::io, file + " cannot be read"}; };
  EXPECT_EQ(message(parse_coordinator(in)), "bad_config: config: /home/ada/.config/fxfarm/config.toml cannot be read");
}

TEST(config, metrics_can_be_off) {
  auto got = parse_coordinator(inputs({"--metrics", "off"}));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->config.metrics, "");
}

TEST(config, a_password_of_redis_is_read_where_others_cannot_see_it_and_never_repeated) {
  const std::string url = "rediss://ada:hunter2@farm";
  EXPECT_EQ(parse_coordinator(inputs({}, {{"FXFARM_REDIS", url}}))->config.redis.url, url);
  EXPECT_EQ(parse_local(inputs({}, {}, "[local]\nredis = \"" + url + "\"\n"))->config.redis.url, url);
  EXPECT_EQ(parse_coordinator(inputs({"--redis", "rediss://ada@farm", "--redis-password-file", "/run/secret"}))
                ->config.redis.password_file,
            "/run/secret");
  struct row {
    config_inputs in;
    std::string said;
  };
  const row rows[] = {
      {inputs({"--redis", url}), "--redis-password-file"},
      {inputs({"--redis-password-file", "/f"}, {{"FXFARM_REDIS", url}}), "variable FXFARM_REDIS"},
      {inputs({}, {{"FXFARM_REDIS", url + "/x"}}), "redis: the value is not allowed, want redis://"},
      {inputs({}, {{"FXFARM_REDIS", "redis://:hunter2@farm"}}), "redis: redis://farm:6379 leaves this host"},
  };
  for (const auto& r : rows) {
    auto got = parse_coordinator(r.in);
    ASSERT_FALSE(got) << r.said;
    EXPECT_NE(message(got).find(r.said), std::string::npos) << message(got);
    EXPECT_EQ(message(got).find("hunter2"), std::string::npos) << message(got);
  }
}

TEST(config, refuses_a_redis_that_leaves_the_host_unencrypted_unless_that_is_accepted) {
  struct row {
    std::vector<std::string> arguments;
    bool accepted;
  };
  for (const auto& r :
       {row{{"--redis", "redis://farm"}, false}, row{{"--redis", "redis+cluster://127.0.0.1,farm"}, false},
        row{{"--redis", "redis://farm", "--insecure"}, false},
        row{{"--redis", "redis://farm", "--redis-insecure"}, true}, row{{"--redis", "rediss://farm"}, true},
        row{{"--redis", "redis://127.0.0.1"}, true}, row{{"--redis", "unix:///run/redis.sock"}, true}}) {
    EXPECT_EQ(parse_coordinator(inputs(r.arguments)).ok(), r.accepted) << r.arguments[1];
  }
  EXPECT_FALSE(parse_local(inputs({"--redis", "redis://farm"})));
}

TEST(config, a_prefix_in_redis_has_nothing_that_redis_gives_a_meaning) {
  for (const auto& [prefix, allowed] : {std::pair{"farm-1:eu", true}, {"a{b}", false}, {"a b", false}, {"a*", false}}) {
    EXPECT_EQ(parse_coordinator(inputs({"--redis-prefix", prefix})).ok(), allowed) << prefix;
  }
}

TEST(config, help_is_answered_whatever_else_is_wrong) {
  auto got = parse_coordinator(inputs({"--wrong", "--help"}));
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->help_wanted);
}

TEST(config, an_option_for_one_call_is_neither_variable_nor_key) {
  auto flag = parse_graphs(inputs({"--limit", "7"}));
  ASSERT_TRUE(flag) << flag.failure().message;
  EXPECT_EQ(flag->config.limit, 7u);
  EXPECT_FALSE(parse_graphs(inputs({}, {{"FXFARM_LIMIT", "7"}})));
  EXPECT_FALSE(parse_graphs(inputs({}, {}, "[client]\nlimit = 7\n")));
}

TEST(config, operands_are_taken_where_a_command_has_some) {
  auto in = inputs({"one", "--json", "two"});
  in.operands_max = 2;
  auto got = parse_client(in);
  ASSERT_TRUE(got) << got.failure().message;
  EXPECT_EQ(got->operands, (std::vector<std::string>{"one", "two"}));
  EXPECT_TRUE(got->config.json);
  in.operands_max = 1;
  EXPECT_EQ(parse_client(in).failure().message, "unexpected argument \"two\"");
  in.arguments = {"--jso"};
  EXPECT_FALSE(parse_client(in));
}

TEST(config, help_and_reference_name_every_option) {
  auto reference = options_reference();
  for (const auto& listing : list_options()) {
    auto help = options_help(listing.command, listing.table.empty() ? "client" : listing.table);
    std::set<std::string> seen;
    for (const auto& o : listing.options) {
      EXPECT_TRUE(seen.insert(o.name).second) << o.name << " is declared twice";
      EXPECT_FALSE(o.help.empty()) << o.name;
      EXPECT_NE(help.find("  " + o.flag()), std::string::npos) << o.name;
      EXPECT_NE(reference.find("`" + (o.is_flag_only ? o.flag() : o.variable()) + "`"), std::string::npos) << o.name;
    }
  }
}

TEST(config, every_default_is_a_value_that_the_option_itself_allows) {
  auto check = [](const auto& got, auto parse) {
    ASSERT_TRUE(got);
    std::vector<std::string> again;
    for (const auto& [name, value] : got->values) {
      if (value.text.empty()) continue;  // an option without a default; no flag takes an empty text
      again.push_back(flag_name(name) + "=" + value.text);
    }
    auto second = parse(inputs(again));
    ASSERT_TRUE(second) << second.failure().message;
    for (const auto& [name, value] : got->values) EXPECT_EQ(second->values.at(name).text, value.text) << name;
  };
  check(parse_coordinator(inputs()), parse_coordinator);
  check(parse_worker(inputs()), parse_worker);
  check(parse_local(inputs()), parse_local);
  check(parse_client(inputs()), parse_client);
  check(parse_graphs(inputs()), parse_graphs);
  check(parse_top(inputs()), parse_top);
  check(parse_cache(inputs()), parse_cache);
  check(parse_doctor(inputs()), parse_doctor);
}

}  // namespace
}  // namespace fxfarm
