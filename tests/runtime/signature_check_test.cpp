#include "runtime/signature_check.hpp"

#include "scratch_directory.hpp"
#include "signers.hpp"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace fxfarm {
namespace {

using namespace testing_signers;

const std::string key(64, 'a');

std::string said(const std::optional<signature_check::refusal>& refused) {
  return refused ? std::string(refused->reason) : "accepted";
}

TEST(signature_check, wants_one_of_the_list_to_have_signed_just_that) {
  signer_list list;
  const auto check = list.check();
  const auto first = new_signer(), second = new_signer(), stranger = new_signer();
  list.accept({first.public_key(), second.public_key()});
  const artifact_facts what{key, std::string(64, 'd'), 7};
  const artifact_facts other{std::string(64, 'b'), std::string(64, 'd'), 7};
  EXPECT_EQ(said(check->refuses(what, first.sign(what))), "accepted");
  EXPECT_EQ(said(check->refuses(what, second.sign(what))), "accepted");
  EXPECT_EQ(said(check->refuses(what, {})), "unsigned");
  EXPECT_EQ(said(check->refuses(what, stranger.sign(what))), "unknown_signer");
  EXPECT_EQ(said(check->refuses(other, first.sign(what))), "bad_signature");
  EXPECT_EQ(said(check->refuses(what, {first.public_key(), stranger.sign(what).value})), "bad_signature");
  EXPECT_EQ(said(check->refuses(what, {"", first.sign(what).value})), "unknown_signer");
  EXPECT_EQ(check->refuses(what, {"", "x"})->why.message,
            "the artifact is signed by no key at all, who is not accepted");
  EXPECT_EQ(check->refuses(what, {})->why.code, errc::untrusted);
  EXPECT_EQ(check->signers().size(), 2u);
}

TEST(signature_check, without_a_signer_accepts_nothing) {
  signer_list list;
  const artifact_facts what{key, std::string(64, 'd'), 7};
  EXPECT_EQ(said(list.check()->refuses(what, new_signer().sign(what))), "unknown_signer");
}

TEST(signature_check, follows_the_list) {
  signer_list list;
  const auto check = list.check();
  const auto signer = new_signer();
  const artifact_facts what{key, std::string(64, 'd'), 7};
  const auto by = signer.sign(what);
  list.accept({signer.public_key()});
  EXPECT_EQ(said(check->refuses_signer(by)), "accepted");
  list.accept({});
  EXPECT_EQ(said(check->refuses_signer(by)), "unknown_signer");
  EXPECT_EQ(said(check->refuses_signer({})), "unsigned");
}

TEST(signature_check, of_a_file_follows_it_and_keeps_the_list_when_it_cannot_be_read) {
  scratch_directory directory;
  const auto path = (directory.path() / "signers").string();
  const auto write = [&](const std::string& text) {
    std::ofstream(path + ".new", std::ios::binary) << text;
    ::chmod((path + ".new").c_str(), 0644);
    std::filesystem::rename(path + ".new", path);
  };
  std::vector<std::string> problems;
  const auto take = [&](const error& why) { problems.push_back(why.message); };
  EXPECT_EQ(signature_check::of_file("signers", path, take).failure().message,
            "signers: " + path + " cannot be read: No such file or directory");

  const auto before = new_signer(), after = new_signer();
  const artifact_facts what{key, std::string(64, 'd'), 7};
  write("# a client's\nsigner * " + before.public_key() + " worker-0\nclient a " + std::string(40, '0') + "\n");
  const auto check = *signature_check::of_file("signers", path, take);
  EXPECT_EQ(said(check->refuses(what, before.sign(what))), "accepted");
  // A signer is replaced without a gap: both, then the new one alone.
  write("signer * " + before.public_key() + "\nsigner * " + after.public_key() + "\n");
  EXPECT_EQ(said(check->refuses(what, before.sign(what))), "accepted");
  EXPECT_EQ(said(check->refuses(what, after.sign(what))), "accepted");
  write("signer * " + after.public_key() + "\n");
  EXPECT_EQ(said(check->refuses(what, before.sign(what))), "unknown_signer");
  write("singer * " + before.public_key() + "\n");
  EXPECT_EQ(said(check->refuses(what, after.sign(what))), "accepted");
  EXPECT_EQ(said(check->refuses(what, before.sign(what))), "unknown_signer");
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find("line 1: unknown role \"singer\"; did you mean signer?"), std::string::npos)
      << problems[0];
}

}  // namespace
}  // namespace fxfarm
