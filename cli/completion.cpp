// Completion of commands and flags for three shells, and the manual page: all from the commands' table and the options'
// declarations.

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "runtime/config.hpp"

#include <algorithm>
#include <iostream>

namespace fxfarm::cli {
namespace {

struct flag {
  std::string text;  // "--slots"
  std::string help;
};

std::vector<flag> flags_of(const command& c) {
  std::vector<flag> flags{{"--help", "tell what the command does"}};
  for (const auto& l : list_options()) {
    if (!applies(l, c.name, c.table)) continue;
    for (const auto& o : l.options) flags.push_back({o.flag(), o.help});
  }
  if (c.takes_json) flags.push_back({"--json", "print the answer as JSON"});
  return flags;
}

// The first words of what a command takes beside options: those in lower case are to be typed as they stand.
std::vector<std::string> words_of(const command& c) {
  std::vector<std::string> words;
  std::string all(c.operands);
  for (std::size_t begin = 0; begin < all.size();) {
    const auto end = std::min(all.find(" | ", begin), all.size());
    auto word = all.substr(begin, std::min(all.find(' ', begin), end) - begin);
    for (std::size_t at = 0; at <= word.size();) {
      const auto bar = std::min(word.find('|', at), word.size());
      const auto one = word.substr(at, bar - at);
      if (!one.empty() && std::all_of(one.begin(), one.end(), [](char ch) { return ch >= 'a' && ch <= 'z'; })) {
        words.push_back(one);
      }
      at = bar + 1;
    }
    begin = end + 3;
  }
  return words;
}

template <class F>
void for_each_command(F&& f) {
  for (const auto& c : commands()) {
    if (!c.hidden) f(c);
  }
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const auto& w : words) all += (all.empty() ? "" : " ") + w;
  return all;
}

// For a text within single quotes of a shell.
std::string quoted(std::string text) {
  for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4) text.replace(at, 1, "'\\''");
  return text;
}

void print_bash() {
  std::vector<std::string> names;
  for_each_command([&](const command& c) { names.emplace_back(c.name); });
  std::cout << "# source <(fxfarm completion bash)\n"
               "_fxfarm() {\n"
               "  local words=\"\" current=\"${COMP_WORDS[COMP_CWORD]}\"\n"
               "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
               "    words=\""
            << joined(names)
            << "\"\n"
               "  else\n"
               "    case \"${COMP_WORDS[1]}\" in\n";
  for_each_command([](const command& c) {
    auto words = words_of(c);
    for (const auto& f : flags_of(c)) words.push_back(f.text);
    std::cout << "      " << c.name << ") words=\"" << joined(words) << "\" ;;\n";
  });
  std::cout << "    esac\n"
               "  fi\n"
               "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
               "}\n"
               "complete -o default -F _fxfarm fxfarm\n";
}

// In a description of zsh a colon ends the word.
std::string zsh_pair(const std::string& word, const std::string& help) {
  std::string text = help;
  for (std::size_t at = 0; (at = text.find(':', at)) != std::string::npos; at += 2) text.replace(at, 1, "\\:");
  return "'" + quoted(word) + ":" + quoted(text) + "'";
}

void print_zsh() {
  std::cout << "#compdef fxfarm\n"
               "# fxfarm completion zsh > a directory of $fpath, as _fxfarm\n"
               "_fxfarm() {\n"
               "  local -a found\n"
               "  if (( CURRENT == 2 )); then\n"
               "    found=(\n";
  for_each_command(
      [](const command& c) { std::cout << "      " << zsh_pair(std::string(c.name), std::string(c.summary)) << "\n"; });
  std::cout << "    )\n"
               "  else\n"
               "    case ${words[2]} in\n";
  for_each_command([](const command& c) {
    std::cout << "      " << c.name << ") found=(";
    for (const auto& w : words_of(c)) std::cout << zsh_pair(w, "") << " ";
    for (const auto& f : flags_of(c)) std::cout << zsh_pair(f.text, f.help) << " ";
    std::cout << ") ;;\n";
  });
  std::cout << "    esac\n"
               "  fi\n"
               "  _describe 'fxfarm' found || _files\n"
               "}\n"
               "compdef _fxfarm fxfarm\n";
}

void print_fish() {
  std::cout << "# fxfarm completion fish | source\n";
  for_each_command([](const command& c) {
    std::cout << "complete -c fxfarm -n __fish_use_subcommand -a " << c.name << " -d '"
              << quoted(std::string(c.summary)) << "'\n";
    const auto where = "complete -c fxfarm -n '__fish_seen_subcommand_from " + std::string(c.name) + "' ";
    if (const auto words = words_of(c); !words.empty()) std::cout << where << "-a '" << joined(words) << "'\n";
    for (const auto& f : flags_of(c))
      std::cout << where << "-l " << f.text.substr(2) << " -d '" << quoted(f.help) << "'\n";
  });
}

// --- the manual page -------------------------------------------------------------------------------------------------

// A text of roff: no line begins a request, and a hyphen stays one.
std::string roff(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) {
      out += std::string("\\&") + c;
    } else {
      out += c;
    }
  }
  return out;
}

void print_options(const option_listing& l) {
  for (const auto& o : l.options) {
    std::cout << ".TP\n.B " << roff(o.flag());
    if (!o.is_switch) std::cout << " \\fIVALUE\\fR" << (o.is_list ? ",..." : "");
    std::cout << "\n"
              << roff(o.help) << ". Value: " << roff(o.allowed)
              << "; default: " << roff(o.default_text.empty() ? "none" : o.default_text) << ".";
    if (!o.is_flag_only) std::cout << " Variable: " << o.variable() << ".";
    std::cout << "\n";
  }
}

void print_man() {
  std::cout << ".TH FXFARM 1\n.SH NAME\nfxfarm \\- a compile farm for PyTorch\n"
               ".SH SYNOPSIS\n.B fxfarm\n.I COMMAND\n[\\fIOPTIONS\\fR]\n.SH COMMANDS\n";
  for_each_command([](const command& c) {
    std::cout << ".TP\n.B " << roff(c.name);
    if (!c.operands.empty()) std::cout << " \\fI" << roff(c.operands) << "\\fR";
    std::cout << "\n" << roff(c.summary) << ".";
    if (!c.table.empty()) std::cout << " Options: those of " << roff(c.table) << ".";
    if (c.takes_json) std::cout << " With " << roff("--json") << ": as JSON.";
    std::cout << "\n";
  });
  for (const auto& l : list_options()) {
    const auto title = l.table.empty() ? "every command" : l.command.empty() ? l.table : l.command + " alone";
    std::cout << ".SH OPTIONS OF " << roff(title) << "\n";
    print_options(l);
  }
  std::cout
      << ".SH CONFIGURATION\nA value comes from the flag, else the variable, else the TOML file, else the default.\n"
         ".SH EXIT STATUS\n0: done. 1: it did not succeed. 2: the command line or the configuration cannot be used.\n";
}

}  // namespace

exit_code completion_command(const command& self, const arguments& args) {
  if (wants_only_help(args)) return print_help(self);
  if (args == arguments{"bash"}) {
    print_bash();
  } else if (args == arguments{"zsh"}) {
    print_zsh();
  } else if (args == arguments{"fish"}) {
    print_fish();
  } else {
    return fail(self.name, {errc::bad_config, "want the name of a shell: bash, zsh or fish"});
  }
  return exit_ok;
}

exit_code man_command(const command& self, const arguments& args) {
  if (wants_only_help(args)) return print_help(self);
  if (!args.empty()) return fail(self.name, {errc::bad_config, "unexpected argument \"" + args.front() + "\""});
  print_man();
  return exit_ok;
}

}  // namespace fxfarm::cli
