#include "cli/console.hpp"
#include "cli/operator_command.hpp"
#include "cli/render_top.hpp"

#include <iostream>
#include <thread>

#include <sys/ioctl.h>
#include <unistd.h>

namespace fxfarm::cli {
namespace {

constexpr const char* home = "\x1b[H";
constexpr const char* clear_line_end = "\x1b[K\n";
constexpr const char* clear_below = "\x1b[J";

// Over what is there, so that nothing flickers; no more than fits.
void paint(const std::string& text) {
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0;
  std::string out = home;
  std::size_t rows = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    if (known && ++rows >= size.ws_row) break;
    out.append(text, begin, known ? std::min<std::size_t>(end - begin, size.ws_col) : end - begin);
    out += clear_line_end;
    begin = end + 1;
  }
  std::cout << out << clear_below << std::flush;
}

}  // namespace

exit_code top_command(const command& self, const arguments& args) {
  const auto in = config_inputs::of_process(args);
  auto parsed = parse_top(in);
  if (!parsed) return fail(self.name, parsed.failure());
  if (parsed->help_wanted) return print_help(self);
  const auto& c = parsed->config;
  const auto farm = farm_of(c, in);
  if (!farm) return fail(self.name, farm.failure());

  const bool live = !c.once && ::isatty(STDOUT_FILENO) == 1;
  std::string before;  // the look before this one; empty: none
  while (true) {
    auto document = ask_coordinator(*farm, {"top"});
    if (!document) return fail(self.name, document.failure());
    auto look = look_at_farm(*document, before);
    if (!look) return fail(self.name, look.failure().with_context(farm->endpoint));
    if (c.json) {
      std::cout << look->document << "\n" << std::flush;
    } else if (live) {
      paint(look->text);
    } else {
      std::cout << look->text << std::flush;
    }
    if (!std::cout) return fail(self.name, {errc::io, "standard output cannot be written"});
    if (!live) return exit_ok;
    before = *std::move(document);
    std::this_thread::sleep_for(c.interval);
  }
}

}  // namespace fxfarm::cli
