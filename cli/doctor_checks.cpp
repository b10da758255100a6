#include "cli/doctor_checks.hpp"

#include "cli/render_parts.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace fxfarm::cli {
namespace {

using nlohmann::json;

constexpr double skew_seconds_max = 2;  // beyond, times of different machines cannot be read side by side

finding well(std::string check, std::string what) {
  return {std::move(check), grade::well, std::move(what), {}};
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

std::string seconds_text(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f s", seconds);
  return text.data();
}

finding judge_clock(const json& status, const farm_facts& f) {
  const auto& theirs = at(status, "unix_seconds");
  if (!theirs.is_number()) {
    return {"clock", grade::doubtful, f.endpoint + " does not tell its time", "it is of an older release: update it"};
  }
  // What the question took is not known to belong to either way.
  const auto uncertain = (f.answered - f.asked) / 2;
  const auto skew = theirs.get<double>() - (f.asked + uncertain);
  const auto what = "this clock and that of " + f.endpoint + " differ by " + seconds_text(std::abs(skew));
  if (std::abs(skew) <= skew_seconds_max + uncertain) return well("clock", what);
  return {"clock", grade::doubtful, what, "have both machines keep time by NTP (timedatectl set-ntp true)"};
}

finding judge_workers(const json& status, const std::string& endpoint) {
  std::size_t takes = 0, all = 0;
  std::string problem;
  for (const auto& w : at(status, "workers")) {
    ++all;
    const auto state = cell(w, "state");
    if (state == "idle" || state == "busy" || state == "starting") ++takes;
    if (const auto why = cell(w, "problem"); why != "-") problem = why;
  }
  const auto what = std::to_string(takes) + " of " + std::to_string(all) + " workers take jobs";
  if (takes > 0) return well("workers", what);
  return {"workers", grade::wrong, what + (problem.empty() ? "" : ": " + problem),
          all == 0 ? "start one: fxfarm worker --coordinators " + endpoint
                   : "the worker's log tells why; `fxfarm undrain` if it was drained"};
}

std::string mend_farm(const error& why) {
  const auto says = [&](std::string_view part) { return why.message.find(part) != std::string::npos; };
  if (says("does not know the key")) return "add a line for it to the coordinator's file of authorized keys";
  if (says("has no right")) return "ask with a key that has the right, or add a line for this one";
  if (says("wants keys")) return "give --secret-key and --server-public-key";
  if (says("broke off the handshake")) return "compare --server-public-key with the coordinator's key";
  if (says("talks unencrypted")) return "start the coordinator with --server-key and --authorized-keys";
  return "is a coordinator running there, and is the endpoint right? A firewall may be between";
}

}  // namespace

std::string_view to_string(grade g) {
  switch (g) {
    case grade::well:
      return "well";
    case grade::doubtful:
      return "doubtful";
    case grade::wrong:
      return "wrong";
  }
  return "wrong";
}

finding judge_python(const std::string& interpreter, const result<std::string>& printed) {
  if (!printed) {
    const bool missing = printed.failure().code == errc::not_found;
    return {"python", grade::wrong, printed.failure().message,
            missing ? "name the interpreter with --python or FXFARM_PYTHON"
                    : "install torch where " + interpreter + " finds it, or name another interpreter with --python"};
  }
  const auto facts = json::parse(*printed, nullptr, false);
  const auto what = "torch " + cell(facts, "torch") + ", Python " + cell(facts, "python") + " (" + interpreter + ")";
  if (!facts.is_object() || cell(facts, "torch") == "-") {
    return {"python", grade::wrong, interpreter + " did not answer as expected", "name an interpreter with --python"};
  }
  if (cell(facts, "fxfarm") != "yes") {
    return {"python", grade::wrong, what + " has no package fxfarm", "install the same wheel there as here"};
  }
  return well("python", what);
}

finding judge_hardware(const result<std::string>& printed) {
  const auto facts = printed ? json::parse(*printed, nullptr, false) : json();
  const auto isa = cell(facts, "isa"), gpu = cell(facts, "gpu");
  if (!facts.is_object()) return {"hardware", grade::doubtful, "not known without Python and torch", "see python"};
  const auto what =
      "CPU " + (isa == "-" ? "of another kind than x86-64" : isa) + (gpu == "-" ? ", no GPU" : ", " + gpu);
  if (isa == "x86-64-v1" || isa == "x86-64-v2") {
    return {"hardware", grade::doubtful, what, "kernels have vectors from x86-64-v3 on: use a newer CPU for workers"};
  }
  return well("hardware", what);
}

finding judge_compiler(const std::string& program, const result<std::string>& printed) {
  if (printed) return well("compiler", first_line(*printed));
  return {"compiler", grade::wrong, printed.failure().message,
          "engines need a C++ compiler: install g++, or name one in the variable CXX (it is " + program + ")"};
}

finding judge_directory(const directory_facts& f) {
  const auto what = f.path + " (" + f.holds + ")";
  if (f.exists && !f.is_directory) {
    return {"directory", grade::wrong, what + " is no directory", "remove it, or name another"};
  }
  if (!f.may_write) {
    return {"directory", grade::wrong, what + (f.exists ? " cannot be written" : " cannot be made"),
            "give this user the right to it, or name another directory"};
  }
  if (f.must_be_private && f.exists && !f.is_private) {
    return {"directory", grade::wrong, what + " is not this user's alone", "chmod 700 " + f.path + ", and own it"};
  }
  return well("directory", what + (f.exists ? " can be used" : " will be made"));
}

finding judge_port(const port_facts& f) {
  if (!f.problem.empty()) {
    return {"port", grade::wrong, f.address + " for " + f.what_for + ": " + f.problem, "name another with " + f.option};
  }
  if (!f.in_use) return well("port", f.address + " is free for " + f.what_for);
  return {"port", grade::doubtful, f.address + " is in use",
          "well if " + f.what_for + " runs; else name another address with " + f.option};
}

std::vector<finding> judge_farm(const farm_facts& f) {
  if (!f.status) {
    return {{"farm", grade::wrong, to_string(f.status.failure()), mend_farm(f.status.failure())}};
  }
  const auto status = json::parse(*f.status, nullptr, false);
  const auto version = cell(status, "version");
  std::vector<finding> found;
  if (version == f.our_version) {
    found.push_back(well("farm", f.endpoint + " answers, version " + version + (f.encrypted ? ", encrypted" : "")));
  } else {
    found.push_back({"farm", grade::doubtful, f.endpoint + " has version " + version + ", this is " + f.our_version,
                     "use one release everywhere"});
  }
  found.push_back(judge_workers(status, f.endpoint));
  found.push_back(judge_clock(status, f));
  return found;
}

finding judge_signers(const signer_facts& f) {
  if (f.path.empty()) {
    return well("signers",
                "no file of signers: a client loads what farms on this host send, and no other without insecure");
  }
  if (!f.signers) {
    return {"signers", grade::wrong, f.signers.failure().message, "name a file with a line `signer * KEY` for each"};
  }
  const auto& ours = *f.signers;
  const auto what = f.path + " has " + std::to_string(ours.size()) + " signers";
  const auto status = f.status ? json::parse(*f.status, nullptr, false) : json();
  if (!status.is_object()) return well("signers", what);
  const auto& theirs = at(status, "signers");
  if (!theirs.is_array()) {
    return {"signers", grade::doubtful, what + ", and the farm wants nothing to be signed",
            "give its workers --signing-key, and the coordinator keys; what nobody has signed is not loaded here"};
  }
  std::size_t shared = 0;
  for (const auto& key : theirs) {
    shared +=
        key.is_string() ? static_cast<std::size_t>(std::count(ours.begin(), ours.end(), key.get<std::string>())) : 0;
  }
  const auto of_theirs = what + "; of the " + std::to_string(theirs.size()) + " that the farm accepts " +
                         std::to_string(shared) + " are among them";
  if (shared == theirs.size() && shared > 0) return well("signers", of_theirs);
  return {"signers", shared == 0 ? grade::wrong : grade::doubtful, of_theirs,
          "what the others sign is not loaded here: compare it with the lines `signer` of the coordinator's file"};
}

finding judge_admin_token(const std::string& path, const result<std::string>& token) {
  if (path.empty()) return well("keys", "no admin token: the status page shows, and does nothing");
  if (token) return well("keys", path + " has the admin token of the status page");
  return {"keys", grade::wrong, to_string(token.failure()),
          "(umask 077 && openssl rand -hex 24 > " + path + "), as the user whom the coordinator runs as"};
}

finding judge_sandbox(const std::string& kind, const std::string& why_none) {
  if (why_none.empty()) return well("sandbox", kind == "none" ? "none, as it is configured" : "engines run in " + kind);
  return {
      "sandbox", grade::doubtful, "engines run without: " + why_none,
      "install bubblewrap, and see docs/deploy/containers.md for what a container must allow; --engine-sandbox none "
      "if clients are trusted"};
}

finding judge_redis(const std::string& url, const result<void>& answered) {
  if (answered) return well("redis", url + " answers");
  return {"redis", grade::wrong, url + ": " + to_string(answered.failure()),
          "a farm works without it; is it running, are password and certificates right?"};
}

}  // namespace fxfarm::cli
