#include "runtime/authorized_keys.hpp"

#include <gtest/gtest.h>

namespace fxfarm {
namespace {

// A key for a letter.
std::string key(char c) {
  return std::string(40, c);
}

std::string signer(char c) {
  return std::string(64, c);
}

std::string parsed(const std::string& text) {
  const auto got = authorized_keys::parse(text);
  return got ? "well" : to_string(got.failure());
}

TEST(authorized_keys, give_each_key_the_rights_of_its_lines) {
  const auto got = authorized_keys::parse(
      "# who may come in\n"
      "client    team-a  " +
      key('a') +
      "  alice's laptop\r\n"
      "\n"
      "\tclient team-b " +
      key('b') +
      "\n"
      "   # nobody: worker * " +
      key('c') +
      "\n"
      "worker    *       " +
      key('w') +
      "\n"
      "operator  *       " +
      key('a') + "  alice, too");
  ASSERT_TRUE(got) << to_string(got.failure());
  EXPECT_EQ(got->size(), 3u);
  EXPECT_FALSE(got->knows(key('c')));
  ASSERT_NE(got->find(key('a'), "client"), nullptr);
  EXPECT_EQ(*got->find(key('a'), "client"), (key_right{"client", "team-a", "alice's laptop", true}));
  EXPECT_EQ(*got->find(key('a'), "operator"), (key_right{"operator", "*", "alice, too", false}));
  EXPECT_EQ(got->find(key('a'), "worker"), nullptr);
  EXPECT_EQ(got->find(key('c'), "client"), nullptr);
  EXPECT_EQ(got->roles_of(key('a')), "client, operator");
  EXPECT_EQ(got->roles_of(key('c')), "");
}

// Of clients in the namespaces a to e under these lines besides theirs.
std::vector<std::string> scopes_with(const std::string& lines) {
  std::string text = "worker * " + key('a') + "\n" + lines;
  for (const char space : std::string("abcde")) text += "\nclient " + std::string(1, space) + " " + key(space);
  const auto got = authorized_keys::parse(text);
  EXPECT_TRUE(got) << to_string(got.failure());
  std::vector<std::string> all;
  if (!got) return all;
  for (const char space : std::string("abcde")) all.push_back(got->find(key(space), "client")->scope());
  EXPECT_EQ(got->find(key('a'), "worker")->scope(), "");
  return all;
}

using scopes = std::vector<std::string>;

TEST(authorized_keys, keep_what_is_made_for_a_namespace_from_the_others_unless_they_say_otherwise) {
  EXPECT_EQ(scopes_with(""), (scopes{"a", "b", "c", "d", "e"}));
  EXPECT_EQ(scopes_with("isolate a"), (scopes{"a", "b", "c", "d", "e"}));
  EXPECT_EQ(scopes_with("share *"), (scopes{"", "", "", "", ""}));
  EXPECT_EQ(scopes_with("share *\nisolate b"), (scopes{"", "b", "", "", ""}));
}

TEST(authorized_keys, let_namespaces_share_in_groups_that_have_nothing_of_their_members_own) {
  EXPECT_EQ(scopes_with("share b a"), (scopes{"a+b", "a+b", "c", "d", "e"}));
  EXPECT_EQ(scopes_with("share a b\nshare d e"), (scopes{"a+b", "a+b", "c", "d+e", "d+e"}));
  EXPECT_EQ(scopes_with("share a b\nshare d e\nshare b d"), (scopes{"a+b+d+e", "a+b+d+e", "c", "a+b+d+e", "a+b+d+e"}))
      << "whom one shares with, the other does";
  EXPECT_EQ(scopes_with("share a b\nisolate b"), (scopes{"a", "b", "c", "d", "e"}));
  EXPECT_EQ(scopes_with("share a b c\nisolate b"), (scopes{"a+c", "b", "a+c", "d", "e"}));
  const auto many = scopes_with("share a b " + std::string(64, 'x'));
  EXPECT_EQ(many.at(0), many.at(1));
  EXPECT_EQ(many.at(0).size(), 64u) << "as much as one namespace's name";
  EXPECT_EQ(many.at(0).front(), '+') << "which no namespace has in its name";
}

TEST(authorized_keys, name_the_signers_whose_artifacts_are_accepted) {
  const auto got = authorized_keys::parse("signer * " + signer('b') + " worker-1\nworker * " + key('w') +
                                          "\n#signer * " + signer('c') + "\nsigner\t*\t" + signer('a') + "\r\n");
  ASSERT_TRUE(got) << to_string(got.failure());
  EXPECT_TRUE(got->accepts_signer(signer('a')) && got->accepts_signer(signer('b')));
  EXPECT_FALSE(got->accepts_signer(signer('c')) || got->accepts_signer("") || got->accepts_signer(key('w')));
  EXPECT_EQ(got->signers(), (std::vector<std::string>{signer('a'), signer('b')}));
  EXPECT_FALSE(got->knows(signer('a'))) << "it opens no link";
  EXPECT_EQ(got->size(), 1u);
}

TEST(authorized_keys, may_be_none) {
  for (const auto* text : {"", "\n", "# nobody", "   \n\t\r\n"}) EXPECT_EQ(parsed(text), "well") << text;
}

TEST(authorized_keys, may_have_the_sign_of_a_comment_in_them) {
  const auto odd = "0#" + std::string(38, '0');
  const auto got = authorized_keys::parse("client a " + odd + " #1");
  ASSERT_TRUE(got) << to_string(got.failure());
  ASSERT_TRUE(got->find(odd, "client"));
  EXPECT_EQ(got->find(odd, "client")->comment, "#1");
}

TEST(authorized_keys, are_refused_as_a_whole_with_the_line_that_is_not_understood) {
  const struct {
    std::string text;
    std::string why;
  } cases[] = {
      {"\nclint a " + key('a'),
       "line 2: unknown role \"clint\"; did you mean client?; want client, worker, operator, share, isolate or signer"},
      {"signer * " + key('a'),
       "line 1: signer: \"" + key('a') +
           "\" is no public key that signs, want 64 hex digits as `fxfarm keygen --signing` prints them"},
      {"signer " + signer('a'),
       "line 1: signer: the namespace is \"" + signer('a') + "\", want *, since it serves all of them"},
      {"signer * " + signer('a') + "\nsigner * " + signer('a'), "line 2: signer: the key is one already"},
      {"worker * " + signer('a'),
       "line 1: \"" + signer('a') + "\" is no public key, want 40 characters as `fxfarm keygen` prints them"},
      {"client a", "line 1: \"\" is no public key, want 40 characters as `fxfarm keygen` prints them"},
      {"client a short", "line 1: \"short\" is no public key, want 40 characters as `fxfarm keygen` prints them"},
      {"client " + key('a') + " a",
       "line 1: \"a\" is no public key, want 40 characters as `fxfarm keygen` prints them"},
      {"client * " + key('a'),
       "line 1: client: the namespace is \"*\", want letters, digits, dot, dash and underscore, at most 64"},
      {"client " + std::string(65, 'x') + " " + key('a'),
       "line 1: client: the namespace is \"" + std::string(64, 'x') +
           "...\", want letters, digits, dot, dash and underscore, at most 64"},
      {"worker team-a " + key('a'), "line 1: worker: the namespace is \"team-a\", want *, since it serves all of them"},
      {"isolate", "line 1: isolate: the namespace is \"\", want letters, digits, dot, dash and underscore, at most 64"},
      {"isolate a b", "line 1: isolate: want a namespace and nothing else"},
      {"share", "line 1: share: want two namespaces or more, or * for all of them"},
      {"share a", "line 1: share: want two namespaces or more, or * for all of them"},
      {"share a a", "line 1: share: want two namespaces or more, or * for all of them"},
      {"share a *", "line 1: share: want * and nothing else, or namespaces"},
      {"share a b c d+e",
       "line 1: share: \"d+e\" is no namespace, want letters, digits, dot, dash and underscore, at most 64"},
      {"client a " + key('a') + "\nclient b " + key('a'), "line 2: the key is a client already, in namespace a"},
  };
  for (const auto& c : cases) EXPECT_EQ(parsed(c.text), "bad_config: " + c.why);
}

}  // namespace
}  // namespace fxfarm
