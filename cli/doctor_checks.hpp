#pragma once
// What `fxfarm doctor` makes of what it has seen: each check as a plain function of facts.

#include "runtime/error.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace fxfarm::cli {

enum class grade { well, doubtful, wrong };
std::string_view to_string(grade g);

struct finding {
  std::string check;
  grade verdict = grade::well;
  std::string what;
  std::string mend;  // empty when it is well
};

// What the interpreter of the engines printed, see doctor.cpp: a JSON object.
finding judge_python(const std::string& interpreter, const result<std::string>& printed);
// Of the same: which machine code can be made here.
finding judge_hardware(const result<std::string>& printed);
// What `CXX --version` printed.
finding judge_compiler(const std::string& program, const result<std::string>& printed);

struct directory_facts {
  std::string path;
  std::string holds;  // "artifacts"
  bool exists = false;
  bool is_directory = false;
  bool may_write = false;  // to it or, if it does not exist, to the nearest directory above
  bool must_be_private = false;
  bool is_private = false;  // ours, and closed to others
};
finding judge_directory(const directory_facts& facts);

struct port_facts {
  std::string address;
  std::string what_for;  // "the coordinator"
  std::string option;    // that names another
  bool in_use = false;
  std::string problem;  // another reason why it cannot be had
};
finding judge_port(const port_facts& facts);

// A farm's answer to "status", or why there was none.
struct farm_facts {
  std::string endpoint;
  result<std::string> status = error{};
  std::string our_version;
  bool encrypted = false;
  double asked = 0;  // Unix seconds when the question went, and when the answer came
  double answered = 0;
};
std::vector<finding> judge_farm(const farm_facts& facts);

// Whose artifacts a client with the file `path` would load, beside whose the farm accepts.
struct signer_facts {
  std::string path;                          // empty: it has none
  result<std::vector<std::string>> signers;  // public keys that are there
  result<std::string> status;                // as in farm_facts
};
finding judge_signers(const signer_facts& facts);

// The token of the status page's actions; `token` is what `path` has, unless that is empty.
finding judge_admin_token(const std::string& path, const result<std::string>& token);

// Of engines' sandbox: `kind` is what a worker would have, `why_none` why not more.
finding judge_sandbox(const std::string& kind, const std::string& why_none);

finding judge_redis(const std::string& url, const result<void>& answered);

}  // namespace fxfarm::cli
