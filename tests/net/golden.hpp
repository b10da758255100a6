#pragma once
// The bytes of every message, field by field, with every field set. They were written by another implementation of
// msgpack than ours. A change here is a change of the wire.

#include "net/messages.hpp"

#include <string_view>
#include <vector>

namespace fxfarm::net {

struct golden {
  message content;
  std::string_view wire;
};

inline std::vector<golden> golden_messages() {
  using namespace std::string_view_literals;
  // clang-format off
  return {
    {hello{"fxfarm", 1, "worker", "w1", "box", 70000, "0.1.0", 32768},
        "\202\244type\245hello\244body\210"  // hello, 8 fields
        "\245magic\246fxfarm"  // magic: 'fxfarm'
        "\247version\001"  // version: 1
        "\244role\246worker"  // role: 'worker'
        "\242id\242w1"  // id: 'w1'
        "\244host\243box"  // host: 'box'
        "\243pid\316\000\001\021p"  // pid: 70000
        "\245build\2450.1.0"  // build: '0.1.0'
        "\256enclosed_bytes\315\200\000"  // enclosed_bytes: 32768
        ""sv},
    {welcome{1, "c1", "0.1.0", 2000, 32768, "team"},
        "\202\244type\247welcome\244body\206"  // welcome, 6 fields
        "\247version\001"  // version: 1
        "\242id\242c1"  // id: 'c1'
        "\245build\2450.1.0"  // build: '0.1.0'
        "\254heartbeat_ms\315\007\320"  // heartbeat_ms: 2000
        "\256enclosed_bytes\315\200\000"  // enclosed_bytes: 32768
        "\245scope\244team"  // scope: 'team'
        ""sv},
    {heartbeat{},
        "\202\244type\251heartbeat\244body\200"  // heartbeat, 0 fields
        ""sv},
    {goodbye{"done"},
        "\202\244type\247goodbye\244body\201"  // goodbye, 1 fields
        "\246reason\244done"  // reason: 'done'
        ""sv},
    {rejected{"protocol", "why"},
        "\202\244type\250rejected\244body\202"  // rejected, 2 fields
        "\244code\250protocol"  // code: 'protocol'
        "\246reason\243why"  // reason: 'why'
        ""sv},
    {chunk{3, 262144, bytes{std::byte{0}, std::byte{1}, std::byte{255}}},
        "\202\244type\245chunk\244body\203"  // chunk, 3 fields
        "\246stream\003"  // stream: 3
        "\246offset\316\000\004\000\000"  // offset: 262144
        "\244data\304\003\000\001\377"  // data: 3 bytes
        ""sv},
    {credit{3, 2097152},
        "\202\244type\246credit\244body\202"  // credit, 2 fields
        "\246stream\003"  // stream: 3
        "\245bytes\316\000 \000\000"  // bytes: 2097152
        ""sv},
    {stream_abort{5000000000, "slow"},
        "\202\244type\254stream_abort\244body\202"  // stream_abort, 2 fields
        "\246stream\317\000\000\000\001*\005\362\000"  // stream: 5000000000
        "\246reason\244slow"  // reason: 'slow'
        ""sv},
    {lookup{"g1", "f/0", {stage_spec{"max-autotune", {{"max_autotune", "true"}}}}, platform{"2.13.0+cpu", "3.11", "3.6.0", "aarch64", "x86-64-v4", 8, "cuda", "H100 sm_90", "550"}, "team", 4096, {"s9"}, {{"inputs", "a1b2"}}},
        "\202\244type\246lookup\244body\210"  // lookup, 8 fields
        "\251graph_key\242g1"  // graph_key: 'g1'
        "\244name\243f/0"  // name: 'f/0'
        "\246stages\221\202\244name\254max-autotune\247options\201\254max_autotune\244true"  // stages
        "\246target\211\245torch\2522.13.0+cpu\246python\2443.11\246triton\2453.6.0\244arch\247"
        "aarch64\243isa\251x86-64-v4\247threads\010\246device\244cuda\243gpu\252H100 sm_9"
        "0\252gpu_driver\243550"
        "\245space\244team"  // space: 'team'
        "\253graph_bytes\315\020\000"  // graph_bytes: 4096
        "\247refused\221\242s9"  // refused: ['s9']
        "\245parts\201\246inputs\244a1b2"  // parts
        ""sv},
    {need_graph{"g1"},
        "\202\244type\252need_graph\244body\201"  // need_graph, 1 fields
        "\251graph_key\242g1"  // graph_key: 'g1'
        ""sv},
    {submit{"g1"},
        "\202\244type\246submit\244body\201"  // submit, 1 fields
        "\251graph_key\242g1"  // graph_key: 'g1'
        ""sv},
    {stage_progress{"g1", "s1", "running", "w1"},
        "\202\244type\256stage_progress\244body\204"  // stage_progress, 4 fields
        "\251graph_key\242g1"  // graph_key: 'g1'
        "\251stage_key\242s1"  // stage_key: 's1'
        "\245state\247running"  // state: 'running'
        "\246worker\242w1"  // worker: 'w1'
        ""sv},
    {stage_ready{"g1", "s1", "disk", 0.5, {{"codegen", 1.5}, {"lower", 0.25}}, {"k1", "v1"}},
        "\202\244type\253stage_ready\244body\207"  // stage_ready, 7 fields
        "\251graph_key\242g1"  // graph_key: 'g1'
        "\251stage_key\242s1"  // stage_key: 's1'
        "\246source\244disk"  // source: 'disk'
        "\255queue_seconds\313\077\340\000\000\000\000\000\000"  // queue_seconds: 0.5
        "\246phases\202\247codegen\313\077\370\000\000\000\000\000\000\245lower\313\077\320\000\000\000\000\000\000"  // two phases
        "\246signer\242k1"  // signer: 'k1'
        "\251signature\242v1"  // signature: 'v1'
        ""sv},
    {stage_failed{"g1", "s1", "busy", "full", 250},
        "\202\244type\254stage_failed\244body\205"  // stage_failed, 5 fields
        "\251graph_key\242g1"  // graph_key: 'g1'
        "\251stage_key\242s1"  // stage_key: 's1'
        "\244code\244busy"  // code: 'busy'
        "\246reason\244full"  // reason: 'full'
        "\250retry_ms\314\372"  // retry_ms: 250
        ""sv},
    {release{{"s1", "s2"}},
        "\202\244type\247release\244body\201"  // release, 1 fields
        "\252stage_keys\222\242s1\242s2"  // stage_keys: ['s1', 's2']
        ""sv},
    {switched{"g1", "s1", "default", 2.5, 0.125, "none", 0.25, 1.5},
        "\202\244type\250switched\244body\210"  // switched, 8 fields
        "\251graph_key\242g1"  // graph_key: 'g1'
        "\251stage_key\242s1"  // stage_key: 's1'
        "\245stage\247default"  // stage
        "\271request_to_switch_seconds\313@\004\000\000\000\000\000\000"  // request_to_switch_seconds: 2.5
        "\254load_seconds\313\077\300\000\000\000\000\000\000"  // load_seconds: 0.125
        "\245error\244none"  // error: 'none'
        "\257prepare_seconds\313\077\320\000\000\000\000\000\000"  // prepare_seconds: 0.25
        "\254farm_seconds\313\077\370\000\000\000\000\000\000"  // farm_seconds: 1.5
        ""sv},
    {stage_armed{"g1", "job", "r1", 1, 4, "s1", 2, 70000, 2.5},
        "\202\244type\253stage_armed\244body\211"  // stage_armed, 9 fields
        "\251graph_key\242g1"  // graph_key: 'g1'
        "\243job\243job"  // job: 'job'
        "\245group\242r1"  // group: 'r1'
        "\244rank\001"  // rank: 1
        "\245world\004"  // world: 4
        "\251stage_key\242s1"  // stage_key: 's1'
        "\245stage\002"  // stage: 2
        "\245calls\316\000\001\021p"  // calls: 70000
        "\260calls_per_second\313@\004\000\000\000\000\000\000"  // calls_per_second: 2.5
        ""sv},
    {switch_proposed{"g1", "r1", "s1", "c1-7", 70010},
        "\202\244type\257switch_proposed\244body\205"  // switch_proposed, 5 fields
        "\251graph_key\242g1"  // graph_key: 'g1'
        "\245group\242r1"  // group: 'r1'
        "\251stage_key\242s1"  // stage_key: 's1'
        "\245round\244c1-7"  // round: 'c1-7'
        "\244call\316\000\001\021z"  // call: 70010
        ""sv},
    {switch_vote{"r1", "c1-7", true, 70001, 2.5},
        "\202\244type\253switch_vote\244body\205"  // switch_vote, 5 fields
        "\245group\242r1"  // group: 'r1'
        "\245round\244c1-7"  // round: 'c1-7'
        "\243yes\303"  // yes: True
        "\245calls\316\000\001\021q"  // calls: 70001
        "\260calls_per_second\313@\004\000\000\000\000\000\000"  // calls_per_second: 2.5
        ""sv},
    {switch_decided{"g1", "r1", "s1", "c1-7", "abort", "why"},
        "\202\244type\256switch_decided\244body\206"  // switch_decided, 6 fields
        "\251graph_key\242g1"  // graph_key: 'g1'
        "\245group\242r1"  // group: 'r1'
        "\251stage_key\242s1"  // stage_key: 's1'
        "\245round\244c1-7"  // round: 'c1-7'
        "\247verdict\245abort"  // verdict: 'abort'
        "\246reason\243why"  // reason: 'why'
        ""sv},
    {worker_offer{"w", platform{"2.13.0+cpu", "3.11", "3.6.0", "aarch64", "x86-64-v4", 8, "cuda", "H100 sm_90", "550"}, 4, 1, {"j1"}, true, "io", "none", 70000, 2, 1, 80000, 3, true, true, 5},
        "\202\244type\254worker_offer\244body\336\000\020"  // worker_offer, 16 fields
        "\244name\241w"  // name: 'w'
        "\247runs_on\211\245torch\2522.13.0+cpu\246python\2443.11\246triton\2453.6.0\244arch"
        "\247aarch64\243isa\251x86-64-v4\247threads\010\246device\244cuda\243gpu\252H100 sm_"
        "90\252gpu_driver\243550"
        "\245slots\004"  // slots: 4
        "\245taken\001"  // taken: 1
        "\247running\221\242j1"  // running: ['j1']
        "\250draining\303"  // draining: True
        "\247problem\242io"  // problem: 'io'
        "\247sandbox\244none"  // sandbox: 'none'
        "\263engine_memory_bytes\316\000\001\021p"  // engine_memory_bytes: 70000
        "\244gpus\002"  // gpus: 2
        "\252gpus_taken\001"  // gpus_taken: 1
        "\254memory_bytes\316\000\0018\200"  // memory_bytes: 80000
        "\254memory_taken\003"  // memory_taken: 3
        "\253can_be_kept\303"  // can_be_kept: True
        "\250can_help\303"  // can_help: True
        "\245heeds\005"  // heeds: 5
        ""sv},
    {job{"j1", "s1", "g1", "f/0", stage_spec{"max-autotune", {{"max_autotune", "true"}}}, platform{"2.13.0+cpu", "3.11", "3.6.0", "aarch64", "x86-64-v4", 8, "cuda", "H100 sm_90", "550"}, 15000, 1800000, 1, 2, "team", "team", "7:aa", true, 70000, 32, true, 6},
        "\202\244type\243job\244body\336\000\022"  // job, 18 fields
        "\242id\242j1"  // id: 'j1'
        "\251stage_key\242s1"  // stage_key: 's1'
        "\251graph_key\242g1"  // graph_key: 'g1'
        "\244name\243f/0"  // name: 'f/0'
        "\245stage\202\244name\254max-autotune\247options\201\254max_autotune\244true"  // stage
        "\246target\211\245torch\2522.13.0+cpu\246python\2443.11\246triton\2453.6.0\244arch\247"
        "aarch64\243isa\251x86-64-v4\247threads\010\246device\244cuda\243gpu\252H100 sm_9"
        "0\252gpu_driver\243550"
        "\250lease_ms\315:\230"  // lease_ms: 15000
        "\253deadline_ms\316\000\033w@"  // deadline_ms: 1800000
        "\244rank\001"  // rank: 1
        "\250attempts\002"  // attempts: 2
        "\245space\244team"  // space: 'team'
        "\245scope\244team"  // scope: 'team'
        "\246ticket\2447:aa"  // ticket: '7:aa'
        "\250measures\303"  // measures: True
        "\254memory_bytes\316\000\001\021p"  // memory_bytes: 70000
        "\261kernels_elsewhere "  // kernels_elsewhere: 32
        "\246kernel\303"  // kernel: True
        "\251ends_keep\006"  // ends_keep: 6
        ""sv},
    {job_held{job{"j1", "s1", "g1", "f/0", stage_spec{"default", {}}, platform{"", "", "", "", "", 0, "", "", ""}, 0, 0, 0, 3, "", "", ""}},
        "\202\244type\250job_held\244body\201"  // job_held, 1 field
        "\243job\336\000\022"  // job, 18 fields
        "\242id\242j1"  // id: 'j1'
        "\251stage_key\242s1"  // stage_key: 's1'
        "\251graph_key\242g1"  // graph_key: 'g1'
        "\244name\243f/0"  // name: 'f/0'
        "\245stage\202\244name\247default\247options\200"  // stage
        "\246target\211\245torch\240\246python\240\246triton\240\244arch\240\243isa\240\247threads\000\246device"
        "\240\243gpu\240\252gpu_driver\240"
        "\250lease_ms\000"  // lease_ms: 0
        "\253deadline_ms\000"  // deadline_ms: 0
        "\244rank\000"  // rank: 0
        "\250attempts\003"  // attempts: 3
        "\245space\240"  // space: ''
        "\245scope\240"  // scope: ''
        "\246ticket\240"  // ticket: ''
        "\250measures\302"  // measures: False
        "\254memory_bytes\000"  // memory_bytes: 0
        "\261kernels_elsewhere\000"  // kernels_elsewhere: 0
        "\246kernel\302"  // kernel: False
        "\251ends_keep\000"  // ends_keep: 0
        ""sv},
    {job_alive{{"j1", "j2"}},
        "\202\244type\251job_alive\244body\201"  // job_alive, 1 fields
        "\243ids\222\242j1\242j2"  // ids: ['j1', 'j2']
        ""sv},
    {job_done{"j1", "s1", {{"lower", 0.25}}, {"k1", "v1"}, 70000},
        "\202\244type\250job_done\244body\206"  // job_done, 6 fields
        "\242id\242j1"  // id: 'j1'
        "\251stage_key\242s1"  // stage_key: 's1'
        "\246phases\201\245lower\313\077\320\000\000\000\000\000\000"  // phases: {'lower': 0.25}
        "\246signer\242k1"  // signer: 'k1'
        "\251signature\242v1"  // signature: 'v1'
        "\254memory_bytes\316\000\001\021p"  // memory_bytes: 70000
        ""sv},
    {job_failed{"j1", "s1", "deadline", "late", 7},
        "\202\244type\252job_failed\244body\205"  // job_failed, 5 fields
        "\242id\242j1"  // id: 'j1'
        "\251stage_key\242s1"  // stage_key: 's1'
        "\244code\250deadline"  // code: 'deadline'
        "\246reason\244late"  // reason: 'late'
        "\254memory_bytes\007"  // memory_bytes: 7
        ""sv},
    {kernel_wanted{"j1", "n1"},
        "\202\244type\255kernel_wanted\244body\202"  // kernel_wanted, 2 fields
        "\243job\242j1"  // job: 'j1'
        "\246kernel\242n1"  // kernel: 'n1'
        ""sv},
    {kernel_made{"j1", "n1", {"k1", "v1"}},
        "\202\244type\253kernel_made\244body\204"  // kernel_made, 4 fields
        "\243job\242j1"  // job: 'j1'
        "\246kernel\242n1"  // kernel: 'n1'
        "\246signer\242k1"  // signer: 'k1'
        "\251signature\242v1"  // signature: 'v1'
        ""sv},
    {kernel_unmade{"j1", "n1", "busy", "full"},
        "\202\244type\255kernel_unmade\244body\204"  // kernel_unmade, 4 fields
        "\243job\242j1"  // job: 'j1'
        "\246kernel\242n1"  // kernel: 'n1'
        "\244code\244busy"  // code: 'busy'
        "\246reason\244full"  // reason: 'full'
        ""sv},
    {set_drain{true},
        "\202\244type\251set_drain\244body\201"  // set_drain, 1 fields
        "\250draining\303"  // draining: true
        ""sv},
    {keep_worker{true, 6},
        "\202\244type\253keep_worker\244body\202"  // keep_worker, 2 fields
        "\244kept\303"  // kept: true
        "\246number\006"  // number: 6
        ""sv},
    {cancel_job{"j1", "released"},
        "\202\244type\252cancel_job\244body\202"  // cancel_job, 2 fields
        "\242id\242j1"  // id: 'j1'
        "\246reason\250released"  // reason: 'released'
        ""sv},
    {ask{9, "status", {{"key", "g1"}}},
        "\202\244type\243ask\244body\203"  // ask, 3 fields
        "\247request\011"  // request: 9
        "\244what\246status"  // what: 'status'
        "\251arguments\201\243key\242g1"  // arguments: {'key': 'g1'}
        ""sv},
    {answer{9, "{}", "none", "-"},
        "\202\244type\246answer\244body\204"  // answer, 4 fields
        "\247request\011"  // request: 9
        "\250document\242{}"  // document: '{}'
        "\244code\244none"  // code: 'none'
        "\246reason\241-"  // reason: '-'
        ""sv},
  };
  // clang-format on
}

// submit{"g1"} with the attachment "abc" enclosed; its digest is hashlib.blake2b(b"abc", digest_size=32).
inline constexpr std::string_view golden_enclosed =
    // clang-format off
      "\203\244type\246submit\244body\201"  // submit with an attachment
      "\251graph_key\242g1"  // graph_key: 'g1'
      "\252attachment\202"
      "\246digest\331@bddd813c634239723171ef3fee98579b94964e3bb1cb3e4"
      "27262c8c068d52319"
      "\244data\304\003abc";  // data: 3 bytes
// clang-format on

// submit{"g1"} with attachment_info{1, 300, 64 times "f"}.
inline constexpr std::string_view golden_attachment =
    // clang-format off
      "\203\244type\246submit\244body\201"  // submit with an attachment
      "\251graph_key\242g1"  // graph_key: 'g1'
      "\252attachment\203"
      "\246stream\001\244size\315\001,"  // stream 1, 300 bytes
      "\246digest\331@fffffffffffffffffffffffffffffffffffffffffffffff"
      "fffffffffffffffff";
// clang-format on

}  // namespace fxfarm::net
