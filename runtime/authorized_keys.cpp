#include "runtime/authorized_keys.hpp"

#include "runtime/artifact_signature.hpp"
#include "runtime/curve_key.hpp"
#include "runtime/digest.hpp"
#include "runtime/options.hpp"

#include <algorithm>

namespace fxfarm {
namespace {

constexpr std::string_view blanks = " \t\r";
constexpr std::string_view every_space = "*";

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
  const auto word = line.substr(0, line.find_first_of(blanks));
  line.remove_prefix(word.size());
  return word;
}

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
  return text.substr(0, text.find_last_not_of(blanks) + 1);
}

bool is_space_name(std::string_view text) {
  constexpr std::string_view others = "._-";
  return !text.empty() && text.size() <= limits::space_bytes_max && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           others.find(c) != std::string_view::npos;
  });
}

std::string quoted(std::string_view text) {
  constexpr std::size_t shown = 64;
  return "\"" + std::string(text.substr(0, shown)) + (text.size() > shown ? "...\"" : "\"");
}

error bad(std::string message) {
  return {errc::bad_config, std::move(message)};
}

}  // namespace

result<void> authorized_keys::add(const std::vector<std::string_view>& words, std::string_view comment) {
  const auto role = words.front();
  const auto space = words.size() > 1 ? words[1] : std::string_view();
  static const std::vector<std::string> roles{"client", "worker", "operator", "share", "isolate", "signer"};
  if (std::find(roles.begin(), roles.end(), role) == roles.end()) {
    return bad("unknown role " + quoted(role) + did_you_mean(role, roles) +
               "; want client, worker, operator, share, isolate or signer");
  }
  if (role == "share") {
    std::string names(space);
    if (words.size() > 2) names.append(" ").append(words[2]);
    return add_share(names.append(" ").append(comment));
  }
  const bool of_one_space = role == "client" || role == "isolate";
  if (of_one_space && !is_space_name(space)) {
    return bad(std::string(role) + ": the namespace is " + quoted(space) +
               ", want letters, digits, dot, dash and underscore, at most " + std::to_string(limits::space_bytes_max));
  }
  if (role == "isolate") {
    if (words.size() > 2) return bad("isolate: want a namespace and nothing else");
    isolated_.emplace(space);
    return {};
  }
  if (!of_one_space && space != every_space) {
    return bad(std::string(role) + ": the namespace is " + quoted(space) + ", want *, since it serves all of them");
  }
  const auto key = words.size() > 2 ? words[2] : std::string_view();
  auto added =
      role == "signer"
          ? add_signer(key)
          : add_right({std::string(role), std::string(space), std::string(comment.substr(0, limits::text_bytes_max))},
                      key);
  if (!added) return added;
  if (keys_.size() + signers_.size() > limits::authorized_keys_max) {
    return bad("more than " + std::to_string(limits::authorized_keys_max) + " keys");
  }
  return {};
}

result<void> authorized_keys::add_right(key_right right, std::string_view key) {
  if (!is_curve_key(key)) {
    return bad(quoted(key) + " is no public key, want 40 characters as `fxfarm keygen` prints them");
  }
  auto& rights = keys_[std::string(key)];
  for (const auto& known : rights) {
    if (known.role == right.role) return bad("the key is a " + known.role + " already, in namespace " + known.space);
  }
  rights.push_back(std::move(right));
  return {};
}

// Namespaces, or * alone for all.
result<void> authorized_keys::add_share(std::string_view names) {
  std::set<std::string> together;
  bool all = false;
  for (auto name = next_word(names); !name.empty(); name = next_word(names)) {
    all = all || name == every_space;
    if (name != every_space && !is_space_name(name)) {
      return bad("share: " + quoted(name) +
                 " is no namespace, want letters, digits, dot, dash and underscore, at most " +
                 std::to_string(limits::space_bytes_max));
    }
    together.emplace(name);
  }
  if (together.size() < 2 && !all) return bad("share: want two namespaces or more, or * for all of them");
  if (all && together.size() > 1) return bad("share: want * and nothing else, or namespaces");
  all_share_ = all_share_ || all;
  if (!all) shares_.push_back(std::move(together));
  return {};
}

// Whom a namespace shares with, with them shares those, too. A group is called by all of its members: with others in it
// it is another, which has nothing of what this one has made. No namespace's name has the sign between them.
std::map<std::string, std::string, std::less<>> authorized_keys::groups() const {
  std::vector<std::set<std::string>> apart;
  for (auto joined : shares_) {
    std::erase_if(joined, [&](const std::string& name) { return isolated_.contains(name); });
    std::erase_if(apart, [&](std::set<std::string>& other) {
      const bool meets =
          std::any_of(other.begin(), other.end(), [&](const auto& name) { return joined.contains(name); });
      if (meets) joined.merge(other);
      return meets;
    });
    apart.push_back(std::move(joined));
  }
  std::map<std::string, std::string, std::less<>> names;
  for (const auto& group : apart) {
    std::string all;
    for (const auto& name : group) all.append(all.empty() ? "" : "+").append(name);
    if (all.size() > limits::space_bytes_max) all = "+" + digest_hex(view_of(all)).substr(1);
    if (group.size() < 2) continue;
    for (const auto& name : group) names.emplace(name, all);
  }
  return names;
}

result<void> authorized_keys::add_signer(std::string_view key) {
  if (!is_signing_key(key)) {
    return bad("signer: " + quoted(key) + " is no public key that signs, want 64 hex digits as " +
               "`fxfarm keygen --signing` prints them");
  }
  if (!signers_.emplace(key).second) return bad("signer: the key is one already");
  return {};
}

result<authorized_keys> authorized_keys::parse(std::string_view text) {
  authorized_keys out;
  for (std::size_t number = 1; !text.empty(); ++number) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    std::vector<std::string_view> words;
    while (words.size() < 3) {
      const auto word = next_word(line);
      // A key may have the sign of a comment in it, so only one before all else begins a comment.
      if (word.empty() || (words.empty() && word.starts_with('#'))) break;
      words.push_back(word);
    }
    if (words.empty()) continue;
    if (auto added = out.add(words, trimmed(line)); !added) {
      return added.failure().with_context("line " + std::to_string(number));
    }
  }
  const auto groups = out.groups();
  for (auto& [key, rights] : out.keys_) {
    for (auto& right : rights) {
      right.isolated = right.role == "client" && (!out.all_share_ || out.isolated_.contains(right.space));
      const auto group = groups.find(right.space);
      if (right.isolated && group != groups.end()) right.group = group->second;
    }
  }
  return out;
}

const key_right* authorized_keys::find(const std::string& public_key, std::string_view role) const {
  const auto known = keys_.find(public_key);
  if (known == keys_.end()) return nullptr;
  const auto& rights = known->second;
  const auto right = std::find_if(rights.begin(), rights.end(), [&](const key_right& r) { return r.role == role; });
  return right == rights.end() ? nullptr : &*right;
}

std::string authorized_keys::roles_of(const std::string& public_key) const {
  std::string all;
  const auto known = keys_.find(public_key);
  if (known == keys_.end()) return all;
  for (const auto& right : known->second) all.append(all.empty() ? "" : ", ").append(right.role);
  return all;
}

}  // namespace fxfarm
