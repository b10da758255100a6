#pragma once
// Every bound of the farm with its name, unit and default, in one place. What an operator may change is an option that
// starts from here; what is not an option is a property of the protocol.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace fxfarm::limits {

using namespace std::chrono_literals;

inline constexpr std::size_t KiB = 1024;
inline constexpr std::size_t MiB = 1024 * KiB;

// The wire.
inline constexpr std::size_t frame_bytes_max = 1 * MiB;            // one ZeroMQ message
inline constexpr std::size_t enclosed_bytes_max = 32 * KiB;        // an attachment that comes within its message
inline constexpr std::size_t chunk_bytes = 256 * KiB;              // payload of one chunk
inline constexpr std::size_t credit_bytes_window = 4 * MiB;        // unacknowledged bytes of one stream
inline constexpr std::size_t attachment_bytes_max = 1024 * MiB;    // one graph or artifact
inline constexpr std::size_t streams_per_peer_max = 64;            // open streams in each direction; more wait in line
inline constexpr std::size_t peer_backlog_bytes_max = 2048 * MiB;  // attachments that wait to be sent to one peer
inline constexpr std::size_t peer_messages_max = 10'000;           // messages that wait to be sent to one peer
inline constexpr std::size_t outbox_commands_max = 100'000;        // that wait for a socket thread to look at them
inline constexpr std::size_t peers_max = 100'000;                  // connections of one coordinator
inline constexpr std::size_t inbound_batch_max = 256;              // messages drained before the actor is told
inline constexpr std::size_t inbound_bytes_max = 32 * MiB;         // that have come and no actor has looked at yet
inline constexpr std::size_t socket_messages_max = 64;  // of one peer inside ZeroMQ, each way: 16 MiB of chunks
inline constexpr std::size_t list_items_max = 10'000;   // a list or map in a message
inline constexpr std::size_t message_depth_max = 8;     // maps and lists inside each other
inline constexpr auto heartbeat_period = 2s;
inline constexpr auto peer_silence_max = 10s;    // silence after which a peer counts as gone
inline constexpr auto handshake_timeout = 5s;    // from a connection's first byte to its hello
inline constexpr auto stream_silence_max = 20s;  // a stream that makes no progress for so long is given up
inline constexpr std::size_t stream_bytes_per_second_min = 1 * MiB;  // how slow a link a large attachment may have
inline constexpr auto reconnect_delay_min = 100ms;                   // doubles with jitter up to the next
inline constexpr auto reconnect_delay_max = 10s;
inline constexpr auto name_refresh = 30s;       // how often a farm's name is looked up again
inline constexpr unsigned name_misses_max = 3;  // answers in a row that may lack an address which a name has had
inline constexpr auto goodbye_linger = 100ms;   // how long a closing socket may take to send what it holds

// Keys of links.
inline constexpr std::size_t key_file_bytes_max = 64 * KiB;         // a file with a key
inline constexpr std::size_t authorized_keys_max = 100'000;         // of one coordinator
inline constexpr std::size_t authorized_keys_bytes_max = 32 * MiB;  // their file
inline constexpr std::size_t space_bytes_max = 64;                  // a namespace's name in that file
inline constexpr std::size_t server_keys_max = 16;                  // that one client accepts
inline constexpr auto authorized_keys_quiet = 1s;                   // since it was written to, before it is read
inline constexpr auto authorized_keys_period = 1s;                  // how often their file is looked at
inline constexpr auto refusals_logged = 1s;                         // at most one line within it
inline constexpr auto insecure_warning_period = 60s;
inline constexpr auto clock_skew_max = 300s;  // between coordinators, of a ticket for a job

// Requests.
inline constexpr std::size_t stages_per_graph_max = 16;
inline constexpr std::size_t guard_steps_max = 4096;        // of what a stage assumes of sizes
inline constexpr std::size_t guard_depth_max = 64;          // values that it has at the same time
inline constexpr std::size_t guard_arguments_max = 64;      // arguments that it looks at
inline constexpr double told_seconds_max = 1e8;             // that a peer says something has taken
inline constexpr std::size_t text_bytes_max = 4 * KiB;      // a name, a reason, an option value
inline constexpr std::size_t socket_path_bytes_max = 107;   // what sockaddr_un::sun_path holds, less its terminator
inline constexpr std::size_t config_bytes_max = 1 * MiB;    // a configuration file
inline constexpr std::size_t report_bytes_max = 512 * KiB;  // a status or statistics document
inline constexpr std::size_t subscribers_per_job_max = 100'000;
inline constexpr std::size_t jobs_queued_max = 100'000;
inline constexpr std::size_t jobs_queued_per_client_max = 10'000;
// Of one client's key, or of one client where keys are off: half of what there is, so that none can take all.
inline constexpr unsigned jobs_per_key = 50'000;                  // in flight that it asked for first
inline constexpr std::uint64_t graph_bytes_per_key = 1024 * MiB;  // graphs for its jobs
inline constexpr unsigned lookups_per_key = 20'000;               // in a second
// Of one key, whatever its role, or of one connection where keys are off. A client says about five messages for a
// lookup: it asks, brings the graph, tells of each stage that it switched to, lets go of the rest. So these are all
// that come with `lookups_per_key`, and fewer than a coordinator can read. 1 000 ranks of a job say 500 heartbeats in
// a second and, of each graph that waits for all of them to switch, 200 reminders; a worker says a message for each
// job and two in five seconds.
inline constexpr unsigned messages_per_key = 100'000;           // in a second
inline constexpr unsigned messages_part_of_peer = 1'000;        // of these, what a peer has while others take all
inline constexpr unsigned connections_per_key = peers_max / 2;  // at a time
// Beyond these, connections of a key whose hello is heard, so that it can be refused in words.
inline constexpr unsigned connections_refused_in_words = 16;
// Connections of one address at a time that have not said hello: as many as handshakes that one thread gets through in
// the time that they have.
inline constexpr std::size_t connections_unheard_per_address = 10'000;
// What a client asks a farm before it has heard of it, however many of its graphs are open when the link comes up.
inline constexpr unsigned lookups_unanswered_max = 32;
inline constexpr auto lookup_answer_max = 1s;  // after which a lookup without an answer keeps no other back
// What a peer may say at once while its key has nothing left: those lookups and what follows from each.
inline constexpr unsigned messages_at_once_of_peer = 8 * lookups_unanswered_max;
inline constexpr std::size_t graph_bytes_held_max = 2048 * MiB;  // graphs that a coordinator keeps for its jobs
inline constexpr auto graph_wait_max = 30s;                      // from NeedGraph to the graph, then another is asked
inline constexpr auto graph_ask_again = 1s;                      // when there was nobody else to ask
inline constexpr std::size_t graph_asks_max = 3;                 // silent clients that one graph is asked from
inline constexpr std::size_t lookups_reading_max = 100'000;      // stages looked for in the store at a time
inline constexpr std::size_t lookups_reading_per_client_max = 10'000;
inline constexpr auto busy_retry_min = 1s;  // when a client that found the farm full comes again
inline constexpr auto busy_retry_max = 60s;
inline constexpr auto drain_max = 30s;          // what runs may finish within it after SIGTERM
inline constexpr auto operator_reply_max = 5s;  // a command line's question
inline constexpr unsigned graphs_listed = 50;   // of `fxfarm graphs`
inline constexpr auto top_interval = 2s;        // between two looks of `fxfarm top`
inline constexpr auto warm_timeout = 3600s;     // of all that one `fxfarm warm` asks for

// The status page; what the server itself bounds is in monitoring/http.hpp.
inline constexpr auto page_reply_max = 2s;                // the coordinator's answer
inline constexpr auto page_answer_kept_min = 1s;          // one answer is for all who look within it
inline constexpr auto page_answer_kept_max = 5s;          // likewise, when the coordinator is slow
inline constexpr std::size_t page_answers_kept_max = 32;  // different questions
inline constexpr unsigned page_asking_max = 6;            // threads of the server that ask the coordinator
inline constexpr unsigned page_joining_max = 9;           // and that wait for what another of them has asked
inline constexpr unsigned page_questions_per_second_max = 20;
inline constexpr unsigned page_graphs_max = 500;  // of one list
inline constexpr std::size_t admin_token_bytes_min = 16;
inline constexpr std::size_t admin_token_bytes_max = 1 * KiB;
inline constexpr auto admin_denials_logged = 1s;  // at most one line within it

// Jobs.
inline constexpr unsigned job_attempts_max = 3;            // then the graph is quarantined for this stage
inline constexpr unsigned job_refusals_max = 1'000;        // by workers, before they count as attempts
inline constexpr auto job_deadline = 1800s;                // wall clock of one compile
inline constexpr auto job_deadline_max = 7 * 24h;          // that a worker believes
inline constexpr auto worker_kept_max = job_deadline;      // for one coordinator's job that waits for its memory
inline constexpr auto job_lease = 15s;                     // a worker renews it by heartbeats
inline constexpr std::size_t results_tracked_max = 1'000;  // results on their way to coordinators, of one worker
inline constexpr std::size_t results_unclaimed_max = 16;   // results that wait for some coordinator, of one worker
inline constexpr unsigned job_overtakes_max = 16;          // in a row, before the oldest job of a platform goes first
inline constexpr auto retry_elsewhere = 5s;            // how long a retry waits for a worker on which it has not failed
inline constexpr std::size_t workers_avoided_max = 4;  // by one job: the last ones on which it has failed
inline constexpr std::size_t avoiding_classes_max = 32;        // of jobs that avoid the same workers; more avoid none
inline constexpr std::uint64_t job_memory_bytes = 1024 * MiB;  // that a compile takes before any has been measured
inline constexpr std::size_t stages_measured_max = 64;         // names of stages whose compiles' memory is remembered
// Kernels of one job that idle slots compile.
inline constexpr unsigned kernels_per_job = 32;                         // at a time
inline constexpr unsigned kernels_asked_per_job = 10'000;               // in all
inline constexpr unsigned kernel_strikes_max = 2;                       // engines that those of one job may cost
inline constexpr std::size_t kernel_name_bytes_max = 64;                // what an engine calls one
inline constexpr std::size_t kernel_source_bytes_max = 16 * MiB;        // with what else its compile needs to know
inline constexpr std::uint64_t kernel_memory_bytes = job_memory_bytes;  // that it takes of its worker
inline constexpr auto kernel_deadline = 120s;                           // its job compiles it itself long before
inline constexpr auto similar_age = 10s;      // jobs of one such span are as old as each other
inline constexpr auto no_worker_grace = 2s;   // how long a job waits when no worker fits
inline constexpr auto failure_memory = 600s;  // how long a failed stage is answered from memory
inline constexpr std::size_t failures_kept_max = 10'000;
inline constexpr std::size_t durations_kept_max = 100'000;   // of graphs' stages, so that long ones begin early
inline constexpr unsigned history_graphs = 1'000;            // graphs that `graphs` and `explain` can show
inline constexpr std::size_t stages_remembered_max = 64;     // of one such graph
inline constexpr std::uint64_t history_bytes = 64 * MiB;     // what is remembered of all of them
inline constexpr std::size_t life_events_max = 64;           // of one stage; the oldest goes
inline constexpr std::size_t life_text_bytes_max = 1 * KiB;  // of one event's reason
inline constexpr std::size_t life_phases_max = 32;           // of one compile
inline constexpr std::size_t spaces_remembered_max = 8;      // that have asked for one graph
inline constexpr std::size_t key_parts_max = 32;             // of one graph's key
inline constexpr std::size_t key_part_bytes_max = 64;        // of one part's name, and of its digest

// Agreement of a job's ranks on when to switch.
inline constexpr unsigned switch_ranks_max = 100'000;      // of one group
inline constexpr std::size_t switch_groups_max = 100'000;  // that wait for each other
inline constexpr auto switch_margin = 2s;                  // from the proposal to the call; doubles when missed
inline constexpr unsigned switch_doublings_max = 4;        // of the margin
inline constexpr std::uint64_t switch_calls_min = 3;       // that lie between, however slow calls are
inline constexpr auto switch_vote_max = 1s;                // in which all have to answer a proposal
inline constexpr unsigned switch_tries_max = 5;            // proposals in a row; more when a rank says it still waits
inline constexpr std::uint64_t switch_calls_max = 1ULL << 52;  // a count that a peer may name

// Engines.
inline constexpr std::size_t engine_frame_bytes_max = 1024 * MiB;
inline constexpr std::size_t engine_frames_queued_max = 64;  // frames that wait for an engine to read them
inline constexpr std::size_t engine_queue_bytes_max = 2048 * MiB;
inline constexpr unsigned engine_frames_unasked_max = 1'000;   // that it sends between two frames to it
inline constexpr std::size_t engine_log_bytes_max = 64 * KiB;  // tail of an engine's stderr that is kept
inline constexpr auto engine_start_max = 600s;  // from spawn to ready: seconds, or minutes where others have the cores
inline constexpr unsigned engine_starts_max = 3;  // that may fail in a row before the slot counts as out of order
inline constexpr auto engine_stop_grace = 2s;     // from SIGTERM to SIGKILL
inline constexpr auto engine_restart_delay_min = 200ms;
inline constexpr auto engine_restart_delay_max = 30s;
inline constexpr std::size_t engine_memory_bytes = 0;  // resident set of one engine and its compilers; 0: no limit
inline constexpr std::uint64_t engine_cache_bytes = 1024 * MiB;  // kernels of one engine; headers of all engines
inline constexpr unsigned engine_caches_max = 1024;              // engines that use one directory of these
inline constexpr auto engine_cpu_time = 8h;                     // of all processes of one job; far beyond any compile's
inline constexpr unsigned engine_processes = 512;               // of one job at a time
inline constexpr unsigned engine_threads_per_process = 16;      // in the mean, where processes are bounded
inline constexpr unsigned engine_open_files = 4096;             // of each process of an engine
inline constexpr std::uint64_t engine_file_bytes = 4096 * MiB;  // one file that it writes
inline constexpr std::uint64_t engine_disk_bytes = 8192 * MiB;  // its kernels and temporary files
inline constexpr std::uint64_t engine_file_cost_bytes = 4 * KiB;        // what a file counts for, however small
inline constexpr std::uint64_t engine_shared_memory_bytes = 256 * MiB;  // /tmp and /dev/shm of a sandbox, each
inline constexpr auto engine_watch_period = 1s;     // how often what it uses is looked at while a job runs
inline constexpr auto engine_memory_period = 10ms;  // between such looks, however often the engine says something
inline constexpr auto engine_kill_max = 5s;         // for the last process of a sandbox to end after SIGKILL
inline constexpr auto sandbox_probe_max = 20s;      // for the interpreter to say where it is, and to start in a sandbox

// Stores.
inline constexpr std::size_t store_memory_bytes = 256 * MiB;
inline constexpr std::uint64_t store_disk_bytes = 10ULL * 1024 * MiB;
inline constexpr std::size_t store_attributes_bytes_max = 64 * KiB;  // what is kept beside one artifact
inline constexpr std::size_t store_entries_max = 1'000'000;          // files that one look through the disk tier takes
inline constexpr auto store_temp_age_max = 3600s;                    // an unfinished write this old has no writer

// The tier that coordinators share.
inline constexpr std::size_t redis_chunk_bytes = 1 * MiB;        // part of the format: see redis_store.hpp
inline constexpr std::size_t redis_window_chunks = 4;            // asked for, or sent, before an answer is waited for
inline constexpr std::size_t redis_answers_bytes_max = 8 * MiB;  // of what was asked for together
inline constexpr std::uint64_t redis_value_bytes = 64 * MiB;     // one artifact
inline constexpr std::uint64_t redis_queue_bytes = 256 * MiB;    // artifacts that wait to be written
inline constexpr std::size_t redis_queue_entries_max = 10'000;   // artifacts and removals that wait
inline constexpr std::size_t redis_reads_max = 100'000;          // lookups that wait
inline constexpr auto redis_timeout = 1s;                        // to connect, and for each answer
inline constexpr auto redis_read_max = 10s;                      // one lookup, waiting in line included
inline constexpr auto redis_ttl = 7 * 24h;                       // since the last use
inline constexpr unsigned redis_failures_max = 3;                // in a row, then Redis is left alone for a while
inline constexpr auto redis_probe_delay_min = 500ms;             // doubles with jitter up to the next
inline constexpr auto redis_probe_delay_max = 30s;
inline constexpr unsigned redis_write_attempts_max = 5;
inline constexpr unsigned redis_redirections_max = 5;     // of one command in a cluster
inline constexpr std::size_t redis_addresses_max = 1000;  // in a URL, or nodes of a cluster
inline constexpr std::size_t redis_password_bytes_max = 4 * KiB;

// Client.
inline constexpr auto local_idle = 300s;          // a local farm leaves after so long without clients and jobs
inline constexpr auto local_start_max = 15s;      // from spawn to its socket answering
inline constexpr auto lookup_refresh = 60s;       // a lookup without an end is repeated so often
inline constexpr unsigned load_attempts_max = 2;  // a corrupt artifact is asked for again so often

// How long an attachment may take on a link that is just fast enough.
constexpr std::chrono::milliseconds transfer_time_max(std::size_t bytes) {
  return std::chrono::milliseconds(bytes / (stream_bytes_per_second_min / 1000));
}

}  // namespace fxfarm::limits
