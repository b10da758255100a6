#include "cli/doctor_checks.hpp"

#include <gtest/gtest.h>

namespace fxfarm::cli {
namespace {

const std::string good_python =
    R"({"torch": "2.13.0", "python": "3.11", "fxfarm": true, "isa": "x86-64-v4", "gpu": ""})";

std::string short_form(const finding& f) {
  return f.check + " " + std::string(to_string(f.verdict)) + ": " + f.what;
}

farm_facts farm(std::string status, double asked = 100, double answered = 100) {
  farm_facts f;
  f.endpoint = "tcp://farm:7070";
  f.status = std::move(status);
  f.our_version = "1.0";
  f.asked = asked;
  f.answered = answered;
  return f;
}

std::string farm_status(double unix_seconds, const std::string& workers, const std::string& version = "1.0") {
  return R"({"version": ")" + version + R"(", "unix_seconds": )" + std::to_string(unix_seconds) + R"(, "workers": [)" +
         workers + "]}";
}

std::string graded(const farm_facts& facts) {
  std::string out;
  for (const auto& f : judge_farm(facts)) out += f.check + "=" + std::string(to_string(f.verdict)) + " ";
  return out;
}

}  // namespace

TEST(doctor, an_interpreter_needs_torch_and_the_package) {
  EXPECT_EQ(short_form(judge_python("py", good_python)), "python well: torch 2.13.0, Python 3.11 (py)");
  const std::pair<result<std::string>, std::string> rows[] = {
      {error{errc::not_found, "there is no program py"}, "name the interpreter"},
      {error{errc::io, "py: ModuleNotFoundError: No module named 'torch'"}, "install torch"},
      {std::string(R"({"torch": "2.13.0", "python": "3.11", "fxfarm": false})"), "install the same wheel"},
      {std::string("nonsense"), "name an interpreter"},
  };
  for (const auto& [printed, mend] : rows) {
    const auto f = judge_python("py", printed);
    EXPECT_EQ(f.verdict, grade::wrong);
    EXPECT_NE(f.mend.find(mend), std::string::npos) << f.mend;
  }
}

TEST(doctor, tells_which_machine_code_can_be_made) {
  EXPECT_EQ(short_form(judge_hardware(good_python)), "hardware well: CPU x86-64-v4, no GPU");
  EXPECT_EQ(short_form(judge_hardware(std::string(R"({"isa": "", "gpu": "H100"})"))),
            "hardware well: CPU of another kind than x86-64, H100");
  EXPECT_EQ(judge_hardware(std::string(R"({"isa": "x86-64-v2"})")).verdict, grade::doubtful);
  EXPECT_EQ(judge_hardware(error{errc::not_found, "py"}).verdict, grade::doubtful);
}

TEST(doctor, a_compiler_is_needed) {
  EXPECT_EQ(short_form(judge_compiler("g++", std::string("g++ 12\nmore"))), "compiler well: g++ 12");
  EXPECT_EQ(judge_compiler("g++", error{errc::not_found, "there is no program g++"}).verdict, grade::wrong);
}

TEST(doctor, a_directory_can_be_used_or_made) {
  struct {
    bool exists, is_directory, may_write, must_be_private, is_private;
    grade verdict;
    const char* what;
  } const rows[] = {
      {true, true, true, false, false, grade::well, "/d (artifacts) can be used"},
      {false, false, true, true, false, grade::well, "/d (artifacts) will be made"},
      {false, false, false, false, false, grade::wrong, "/d (artifacts) cannot be made"},
      {true, true, false, false, false, grade::wrong, "/d (artifacts) cannot be written"},
      {true, false, true, false, false, grade::wrong, "/d (artifacts) is no directory"},
      {true, true, true, true, false, grade::wrong, "/d (artifacts) is not this user's alone"},
      {true, true, true, true, true, grade::well, "/d (artifacts) can be used"},
  };
  for (const auto& r : rows) {
    const auto f =
        judge_directory({"/d", "artifacts", r.exists, r.is_directory, r.may_write, r.must_be_private, r.is_private});
    EXPECT_EQ(f.verdict, r.verdict) << r.what;
    EXPECT_EQ(f.what, r.what);
    EXPECT_EQ(f.mend.empty(), r.verdict == grade::well);
  }
}

TEST(doctor, a_port_is_free_or_in_use) {
  EXPECT_EQ(judge_port({"127.0.0.1:7070", "a coordinator", "--listen", false, ""}).verdict, grade::well);
  EXPECT_EQ(judge_port({"127.0.0.1:7070", "a coordinator", "--listen", true, ""}).verdict, grade::doubtful);
  EXPECT_EQ(judge_port({"127.0.0.1:70", "a coordinator", "--listen", false, "Permission denied"}).verdict,
            grade::wrong);
}

TEST(doctor, looks_at_the_farm) {
  const std::string idle = R"({"state": "idle"})";
  EXPECT_EQ(graded(farm(farm_status(100, idle))), "farm=well workers=well clock=well ");
  EXPECT_EQ(graded(farm(farm_status(100, idle, "0.9"))), "farm=doubtful workers=well clock=well ");
  EXPECT_EQ(graded(farm(farm_status(100, ""))), "farm=well workers=wrong clock=well ");
  EXPECT_EQ(graded(farm(farm_status(100, R"({"state": "draining"})"))), "farm=well workers=wrong clock=well ");
  EXPECT_EQ(graded(farm("{}")), "farm=doubtful workers=wrong clock=doubtful ");
  auto lost = farm("");
  lost.status = error{errc::unreachable, "tcp://farm:7070: no coordinator answers there"};
  EXPECT_EQ(graded(lost), "farm=wrong ");
}

TEST(doctor, a_worker_that_has_no_slots_says_why) {
  const auto found = judge_farm(farm(farm_status(100, R"({"state": "unavailable", "problem": "no torch"})")));
  EXPECT_EQ(found.at(1).what, "0 of 1 workers take jobs: no torch");
}

TEST(doctor, clocks_may_differ_by_what_the_question_took) {
  const std::string idle = R"({"state": "idle"})";
  EXPECT_EQ(graded(farm(farm_status(103, idle))), "farm=well workers=well clock=doubtful ");
  EXPECT_EQ(graded(farm(farm_status(97, idle))), "farm=well workers=well clock=doubtful ");
  EXPECT_EQ(graded(farm(farm_status(103, idle), 98, 102)), "farm=well workers=well clock=well ");
}

TEST(doctor, the_admin_token_can_be_used_or_is_not_wanted) {
  const auto told = [](const std::string& path, const result<std::string>& token) {
    return short_form(judge_admin_token(path, token));
  };
  EXPECT_EQ(told("", std::string()), "keys well: no admin token: the status page shows, and does nothing");
  EXPECT_EQ(told("/t", std::string("secret")), "keys well: /t has the admin token of the status page");
  EXPECT_EQ(told("/t", error{errc::bad_config, "others may read it"}), "keys wrong: bad_config: others may read it");
}

TEST(doctor, engines_have_a_sandbox_or_it_is_said_why_not) {
  EXPECT_EQ(short_form(judge_sandbox("bubblewrap", "")), "sandbox well: engines run in bubblewrap");
  EXPECT_EQ(short_form(judge_sandbox("none", "")), "sandbox well: none, as it is configured");
  EXPECT_EQ(short_form(judge_sandbox("none", "there is no program bwrap")),
            "sandbox doubtful: engines run without: there is no program bwrap");
}

TEST(doctor, redis_is_there_or_not) {
  EXPECT_EQ(judge_redis("redis://r", {}).verdict, grade::well);
  EXPECT_EQ(judge_redis("redis://r", error{errc::refused, "wrong password"}).verdict, grade::wrong);
}

TEST(doctor, compares_whose_artifacts_are_loaded_with_whose_the_farm_accepts) {
  const std::string a(64, 'a'), b(64, 'b');
  const auto told = [](const signer_facts& facts) {
    const auto f = judge_signers(facts);
    return std::string(to_string(f.verdict)) + ": " + f.what;
  };
  const auto status = [](const std::string& keys) { return std::string(R"({"signers": [)") + keys + "]}"; };
  const error none{errc::unreachable, "no farm"};
  EXPECT_EQ(judge_signers({"", std::vector<std::string>{}, none}).verdict, grade::well);
  EXPECT_EQ(told({"/s", error{errc::bad_config, "signers: /s is bad"}, none}), "wrong: signers: /s is bad");
  const std::vector<std::string> one{a};
  EXPECT_EQ(told({"/s", one, none}), "well: /s has 1 signers");
  EXPECT_EQ(told({"/s", one, status('"' + a + '"')}),
            "well: /s has 1 signers; of the 1 that the farm accepts 1 are among them");
  EXPECT_EQ(told({"/s", one, status('"' + a + "\", \"" + b + '"')}),
            "doubtful: /s has 1 signers; of the 2 that the farm accepts 1 are among them");
  EXPECT_EQ(told({"/s", one, status('"' + b + '"')}),
            "wrong: /s has 1 signers; of the 1 that the farm accepts 0 are among them");
  EXPECT_EQ(told({"/s", one, status("")}), "wrong: /s has 1 signers; of the 0 that the farm accepts 0 are among them");
  EXPECT_EQ(told({"/s", one, std::string("{}")}),
            "doubtful: /s has 1 signers, and the farm wants nothing to be signed");
}

}  // namespace fxfarm::cli
