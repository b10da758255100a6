// The program as a shell sees it: exit codes, and what goes to which stream.

#include "cli/commands.hpp"
#include "runtime/config.hpp"

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

namespace fxfarm::cli {
namespace {

struct outcome {
  int code = -1;
  std::string text;
};

outcome shell(const std::string& line) {
  FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return {};
  outcome out;
  std::array<char, 4096> piece{};
  while (auto n = std::fread(piece.data(), 1, piece.size(), pipe)) out.text.append(piece.data(), n);
  int status = ::pclose(pipe);
  if (WIFEXITED(status)) out.code = WEXITSTATUS(status);
  return out;
}

// Runs the program in an environment of its own, so that the user's variables and files have no say.
outcome run(const std::string& arguments, const std::string& streams = "2>&1") {
  return shell("env -i HOME=/nonexistent XDG_RUNTIME_DIR=/nonexistent " FXFARM_PROGRAM " " + arguments + " " + streams);
}

TEST(program, help_names_every_command_that_is_not_hidden) {
  auto help = run("--help", "2>/dev/null");
  EXPECT_EQ(help.code, exit_ok);
  for (const auto& c : commands()) {
    EXPECT_EQ(help.text.find("\n  " + std::string(c.name) + " ") == std::string::npos, c.hidden) << c.name;
  }
}

TEST(program, every_command_answers_help_on_standard_output) {
  for (const auto& c : commands()) {
    if (c.hidden) continue;
    auto help = run(std::string(c.name) + " --help", "2>/dev/null");
    EXPECT_EQ(help.code, exit_ok) << c.name;
    EXPECT_TRUE(help.text.starts_with("fxfarm " + std::string(c.name) + ": ")) << help.text;
    EXPECT_EQ(help.text.find("--log-level") != std::string::npos, !c.table.empty()) << help.text;
  }
}

TEST(program, usage_errors_exit_with_2_and_say_what_is_wrong_on_standard_error) {
  const std::pair<std::string, std::string> rows[] = {
      {"", "Usage: fxfarm COMMAND"},
      {"statu", "unknown command \"statu\"; did you mean status or stats?"},
      {"status --jsn", "unknown flag --jsn; did you mean --json?"},
      {"worker --slots none", "slots: \"none\" is not allowed, want a number from 1 to 1024 (flag --slots)"},
      {"coordinator --config /nonexistent/c.toml", "config: /nonexistent/c.toml does not exist"},
      {"cache", "want: cache rm KEY"},
      {"cache shred", "want: cache rm KEY, ls"},
      {"cache rm --json", "want: cache rm KEY"},
      {"cache rm 0123 extra", "want: cache rm KEY, ls"},
      {"explain --json", "want: explain KEY|NAME"},
      {"explain one two", "unexpected argument \"two\""},
      {"version extra", "unexpected argument \"extra\""},
      {"completion ksh", "want the name of a shell: bash, zsh or fish"},
  };
  for (const auto& [arguments, said] : rows) {
    auto both = run(arguments);
    EXPECT_EQ(both.code, exit_usage) << arguments;
    EXPECT_NE(both.text.find(said), std::string::npos) << both.text;
    EXPECT_EQ(run(arguments, "2>/dev/null").text, "") << arguments;
  }
}

TEST(program, an_endpoint_where_nobody_answers_is_a_failed_operation_that_names_it) {
  auto got = run("status --endpoint ipc:///nonexistent/farm.sock");
  EXPECT_EQ(got.code, exit_failed);
  EXPECT_NE(got.text.find("ipc:///nonexistent/farm.sock"), std::string::npos) << got.text;
}

TEST(program, without_an_endpoint_it_looks_for_the_local_farm) {
  auto got = run("status");
  EXPECT_EQ(got.code, exit_failed);
  EXPECT_NE(got.text.find("no local farm has a socket in /nonexistent/fxfarm"), std::string::npos) << got.text;
}

TEST(program, an_endpoint_that_leaves_the_host_is_refused) {
  auto got = run("coordinator --listen tcp://0.0.0.0:7070");
  EXPECT_EQ(got.code, exit_usage);
  EXPECT_NE(got.text.find("--insecure"), std::string::npos) << got.text;
}

TEST(program, version_is_text_or_json) {
  EXPECT_TRUE(run("version").text.starts_with("fxfarm "));
  EXPECT_EQ(run("--version").text, run("version").text);
  auto document = nlohmann::json::parse(run("version --json").text, nullptr, false);
  ASSERT_TRUE(document.is_object());
  EXPECT_TRUE(run("version").text.find(document["build"].get<std::string>()) != std::string::npos);
}

TEST(program, completion_offers_the_flags_of_a_command) {
  auto got = shell("bash -c 'source <(" FXFARM_PROGRAM
                   " completion bash); COMP_WORDS=(fxfarm worker --sl); COMP_CWORD=2; "
                   "_fxfarm; echo \"${COMPREPLY[@]}\"'");
  EXPECT_EQ(got.text, "--slots\n");
}

TEST(program, completion_and_the_manual_name_every_command_and_flag) {
  for (const char* arguments : {"completion bash", "completion zsh", "completion fish", "man"}) {
    auto text = run(arguments).text;
    // Of a flag fish wants the name alone, and in the manual a hyphen is to stay one.
    const std::string form = arguments;
    for (const auto& c : commands()) {
      auto name = std::string(c.name);
      if (form == "man" && name == "reset-stats") name = "reset\\-stats";
      if (c.hidden) continue;
      EXPECT_NE(text.find(name), std::string::npos) << form << " " << name;
    }
    EXPECT_EQ(text.find("options-reference"), std::string::npos) << form;
    const auto flag = form == "completion fish" ? "-l job-attempts"
                      : form == "man"           ? "\\-\\-job\\-attempts"
                                                : "--job-attempts";
    EXPECT_NE(text.find(flag), std::string::npos) << form;
  }
}

TEST(program, whatever_answers_says_that_it_does_so_in_json) {
  for (const auto& c : commands()) {
    const auto name = std::string(c.name);
    if (c.hidden) continue;
    const bool runs_or_prints_text =
        name == "local" || name == "coordinator" || name == "worker" || name == "completion" || name == "man";
    EXPECT_EQ(run(name + " --help").text.find("--json") == std::string::npos, runs_or_prints_text) << name;
  }
}

TEST(program, shells_take_what_completion_prints) {
  EXPECT_EQ(shell(FXFARM_PROGRAM " completion bash | bash -n 2>&1").text, "");
  if (shell("command -v zsh").code == 0) {
    EXPECT_EQ(shell(FXFARM_PROGRAM " completion zsh | zsh -n 2>&1").text, "");
  }
  if (shell("command -v fish").code == 0) {
    EXPECT_EQ(shell(FXFARM_PROGRAM " completion fish | fish -n 2>&1").text, "");
  }
}

TEST(program, completion_offers_the_words_of_a_command) {
  auto got = shell("bash -c 'source <(" FXFARM_PROGRAM
                   " completion bash); COMP_WORDS=(fxfarm cache e); COMP_CWORD=2; _fxfarm; echo \"${COMPREPLY[@]}\"'");
  EXPECT_EQ(got.text, "export\n");
}

TEST(program, warm_becomes_python_with_what_was_asked_for) {
  const std::pair<std::string, std::string> rows[] = {
      {"m:f", "--timeout=3600.000 -- m:f"},
      {"f.py:g --shapes 4x8,8x8 --training --json", "--timeout=3600.000 --shapes=4x8,8x8 --training --json -- f.py:g"},
      {"--manifest /m --timeout 1500ms", "--timeout=1.500 --manifest=/m"},
      {"m:f --endpoints tcp://a:1,dns+tcp://b:2 --stages s --inference --log-level info",
       "--timeout=3600.000 --stages=s --endpoints=tcp://a:1,dns+tcp://b:2 --log-level=info --inference -- m:f"},
      {"m:f --endpoint tcp://127.0.0.1:3", "--timeout=3600.000 --endpoints=tcp://127.0.0.1:3 -- m:f"},
  };
  for (const auto& [given, want] : rows) {
    auto got = run("warm --python /bin/echo " + given);
    EXPECT_EQ(got.text, "-m fxfarm.warm " + want + "\n");
    EXPECT_EQ(got.code, exit_ok);
  }
  EXPECT_EQ(run("warm").code, exit_usage);
  EXPECT_EQ(run("warm m:f --manifest /m").code, exit_usage);
  // What is not a flag goes behind what the Python package is told.
  auto told_elsewhere =
      shell("env -i FXFARM_ENDPOINT=tcp://127.0.0.1:3 " FXFARM_PROGRAM " warm --python /bin/echo m:f");
  EXPECT_EQ(told_elsewhere.text, "-m fxfarm.warm --timeout=3600.000 --endpoint=tcp://127.0.0.1:3 -- m:f\n");
  auto lost = run("warm m:f --python /nowhere/python");
  EXPECT_EQ(lost.code, exit_failed);
  EXPECT_NE(lost.text.find("/nowhere/python"), std::string::npos) << lost.text;
}

TEST(program, prints_the_reference_of_all_options_and_commands_which_is_the_one_in_the_docs) {
  std::ifstream file(FXFARM_SOURCE_DIR "/docs/reference/options.md");
  std::string written(std::istreambuf_iterator<char>(file), {});
  const auto printed = run("options-reference").text;
  EXPECT_TRUE(printed.starts_with(options_reference()));
  for (const auto& c : commands()) {
    EXPECT_EQ(printed.find("\n| `" + std::string(c.name)) == std::string::npos, c.hidden) << c.name;
  }
  EXPECT_EQ(written, printed) << "run: fxfarm options-reference > docs/reference/options.md";
}

}  // namespace
}  // namespace fxfarm::cli
