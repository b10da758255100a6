#pragma once
// How the ranks of a job agree on the call from which on they run a new stage of a graph with collectives: they say
// that they have loaded it, are proposed a call that none has come to, vote, and are told the verdict. A plain class;
// the coordinator carries its orders.
//
// What is said here makes switches happen; that no two ranks ever act on different verdicts is seen to by the ranks,
// through the store that their job has met in.

#include "runtime/limits.hpp"
#include "runtime/text_map.hpp"
#include "runtime/time_point.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fxfarm {

// How far a rank is with its calls of a graph.
struct call_pace {
  std::uint64_t calls = 0;  // so far
  double calls_per_second = 0;
};

// A rank has loaded a stage and waits for the others.
struct rank_report {
  std::string group;  // a digest: the job, the graph, and which of equal graphs it is
  std::string graph_key;
  unsigned rank = 0;
  unsigned world = 0;
  std::string stage_key;
  unsigned stage = 0;  // its place in the plan, from 0
  call_pace pace;
};

// For one rank.
struct switch_order {
  enum class kind { propose, commit, abort, pass };
  kind what = kind::propose;
  std::string peer;
  std::string group;
  std::string graph_key;
  std::string stage_key;
  std::string round;       // unique among all coordinators; empty for `pass`
  std::uint64_t call = 0;  // from which on the stage is to run, counted from 0
  std::string reason;      // of `abort` and `pass`
};

class switch_table {
public:
  // `id` tells this coordinator's rounds from those of others.
  explicit switch_table(std::string id) : id_(std::move(id)) {}

  // Also repeated while the rank waits, with what its count is now. False, without effect, when the report is outside
  // the bounds or contradicts the group's others.
  bool arm(const std::string& peer, const rank_report& report, time_point now);
  // To no effect when that round is over.
  void vote(const std::string& peer, const std::string& group, const std::string& round, bool yes, call_pace pace,
            time_point now);
  void leave(const std::string& peer, time_point now);
  // Ends rounds whose votes have not come in time.
  void tick(time_point now);

  struct news {
    std::vector<switch_order> orders;
    unsigned agreed = 0;   // rounds that ended so
    unsigned aborted = 0;  // likewise
  };
  // What there is to do since the last time.
  news take();

  // A round is open, so tick has to be called.
  bool voting() const { return !deadlines_.empty(); }
  std::size_t groups() const { return groups_.size(); }

private:
  struct member {
    std::string peer;
    std::string stage_key;
    unsigned stage = 0;
    call_pace pace;
    time_point at;  // of `pace`
    bool voted = false;
  };
  struct round {
    std::string id;
    std::uint64_t call = 0;
    std::size_t yes = 0;
    time_point until;
  };
  struct group {
    std::string graph_key;
    unsigned world = 0;
    std::map<unsigned, member> members;  // by rank
    text_map<unsigned> ranks;            // by peer
    std::optional<round> open;
    unsigned tries = 0;   // since somebody has armed
    unsigned missed = 0;  // aborted, since the last commit
  };
  using group_map = text_map<group>;

  static bool sound(const rank_report& report);
  void put(const std::string& name, group& g, const std::string& peer, const rank_report& report, time_point now);
  void pass_overtaken(const std::string& name, group& g);
  void propose(const std::string& name, group& g, time_point now);
  std::uint64_t call_ahead(const group& g, time_point now) const;
  void commit(const std::string& name, group& g);
  void abort(const std::string& name, group& g, const std::string& reason, time_point now);
  void close(const std::string& name, group& g);
  void remove(const std::string& name, group& g, unsigned rank);
  void forget_if_empty(const std::string& name);
  void order(switch_order::kind what, const std::string& name, const group& g, const member& to, std::string reason);

  std::string id_;
  std::uint64_t rounds_ = 0;
  group_map groups_;
  text_map<std::set<std::string>> groups_of_;               // by peer
  std::set<std::pair<time_point, std::string>> deadlines_;  // of open rounds
  news news_;
};

}  // namespace fxfarm
