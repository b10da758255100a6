#pragma once
// Who may do what: a file with a line for each right of a key, as docs/security.md tells.
//
//   # role    namespace  public key                                comment
//   client    team-a     rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7   alice
//   worker    *          ...
//   operator  *          ...
//   share     team-b     team-c
//   signer    *          ...64 hex digits...                        worker-0
//
// A client's file of signers has the same form; only its lines with `signer` matter there.

#include "runtime/error.hpp"
#include "runtime/limits.hpp"
#include "runtime/text_map.hpp"

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace fxfarm {

// One right of a key.
struct key_right {
  std::string role;        // "client", "worker" or "operator"
  std::string space;       // namespace; "*" for those that serve all
  std::string comment;     // for people
  bool isolated = false;   // what is made for this namespace is for it alone, or for those of its group
  std::string group = {};  // names it and those that it shares with; empty: none

  // What goes into the keys of what its graphs become: nothing where the whole farm shares.
  std::string scope() const { return isolated ? (group.empty() ? space : group) : std::string(); }
  bool gives_the_same_as(const key_right& other) const {
    return role == other.role && space == other.space && isolated == other.isolated && group == other.group;
  }
  bool operator==(const key_right&) const = default;
};

class authorized_keys {
public:
  // Errors: bad_config, with the number of the line; nothing of such a text is used. A text without keys is no error.
  static result<authorized_keys> parse(std::string_view text);

  bool knows(const std::string& public_key) const { return keys_.contains(public_key); }
  // Null when the key does not have it.
  const key_right* find(const std::string& public_key, std::string_view role) const;
  // "client, operator"; empty when the key is not known.
  std::string roles_of(const std::string& public_key) const;
  std::size_t size() const { return keys_.size(); }  // of links

  // Whether artifacts that are signed with this key are accepted.
  bool accepts_signer(const std::string& public_key) const { return signers_.contains(public_key); }
  std::vector<std::string> signers() const { return {signers_.begin(), signers_.end()}; }

private:
  result<void> add(const std::vector<std::string_view>& words, std::string_view comment);
  result<void> add_signer(std::string_view key);
  result<void> add_share(std::string_view names);
  // By namespace: the name of the group that its `share` lines lead to.
  std::map<std::string, std::string, std::less<>> groups() const;
  result<void> add_right(key_right right, std::string_view key);

  text_map<std::vector<key_right>> keys_;
  std::set<std::string, std::less<>> isolated_;  // whatever is shared
  std::vector<std::set<std::string>> shares_;    // as the lines say
  bool all_share_ = false;
  std::set<std::string, std::less<>> signers_;  // public keys
};

}  // namespace fxfarm
