#include "cli/commands.hpp"

#include <algorithm>
#include <array>

namespace fxfarm::cli {
namespace {

constexpr std::array table{
    command{"local", "run a farm for this user and host; it leaves when idle", "local", local_command},
    command{"coordinator", "run a coordinator", "coordinator", coordinator_command},
    command{"worker", "run a worker", "worker", worker_command},
    command{"status", "show a coordinator, its workers, jobs and store", "client", status_command},
    command{"stats", "show counters since the last reset", "client", stats_command},
    command{"reset-stats", "set the counters to zero", "client", reset_stats_command},
    command{"graphs", "show graphs and how far their stages are", "client", graphs_command},
    command{"explain", "show what has happened to a graph, and why it is not further", "client", explain_command,
            "KEY|NAME"},
    command{"top", "show workers, queues and throughput, again and again", "client", top_command},
    command{"drain", "have a worker finish what it has and take no more", "client", drain_command, "WORKER"},
    command{"undrain", "have a worker take jobs again", "client", drain_command, "WORKER"},
    command{"cache", "forget artifacts; look at a directory of them, mend it, carry it elsewhere", "client",
            cache_command, "rm KEY | ls [KEY] | verify [KEY] | gc | export TO [KEY] | import FROM [KEY]"},
    command{"warm", "compile ahead of time, for a function that builds model and inputs or for recorded graphs",
            "client", warm_command, "FILE.py:FUNCTION|MODULE:FUNCTION"},
    command{"keygen", "make a pair of keys, for whoever takes part in a farm", "", keygen_command,
            "[--signing] NAME [--json]"},
    command{"config", "show each option of a role, its value and where that comes from", "", config_command,
            "show coordinator|worker|local|client [OPTIONS OF THAT ROLE]", false, true},
    command{"doctor", "look at what a farm needs on this host, and tell how to mend it", "local", doctor_command},
    command{"completion", "print the completion script of a shell", "", completion_command, "bash|zsh|fish"},
    command{"man", "print the manual page", "", man_command},
    command{"version", "print the version", "", version_command, {}, false, true},
    command{"guard", "end with an engine all that it has started; workers run it", "", guard_command, {}, true},
    command{"options-reference", "print docs/reference/options.md", "", options_reference_command, {}, true},
};

}  // namespace

std::span<const command> commands() {
  return table;
}

const command* find_command(std::string_view name) {
  const auto* it = std::find_if(table.begin(), table.end(), [&](const command& c) { return c.name == name; });
  return it == table.end() ? nullptr : it;
}

}  // namespace fxfarm::cli
