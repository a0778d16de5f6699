// raft-rs (the crate in this folder) as C functions: one Raft group each, stepped by its caller.
//
// Only raft_group.cc uses it. No function blocks, starts a thread, reads a clock or does I/O, but
// for what `fetch` does; chance comes from `seed` alone, so the same calls have the same results.
// Calls for one group come from one thread at a time. A view that a function takes is valid during
// the call; one that it gives out is valid until the next call for that group (mqttd_raft_status
// leaves those of a Ready). No panic crosses: it becomes MQTTD_RAFT_PANICKED, and the group answers
// nothing else from then on.
//
// What raft-rs would panic at or go wrong with, and what is done about it here, so that no caller
// can do it:
//   - between a Ready and its advance nothing may come: mqttd_raft_ready does both
//   - a conf change is applied with the entry that makes it: mqttd_raft_ready does that too
//   - a snapshot in a Ready: until that Ready is persisted the group is frozen
//     (MQTTD_RAFT_INSTALLING); then its applied index is advanced with it
//   - a leader that removes itself: refused; a node that was removed: MQTTD_RAFT_REMOVED for ever
//   - a member that has lost entries it had acknowledged: it takes no commit index for what it has
//     not compared with its leader's log, says so, and the leader sends it all from there
//   - a commit index on the disk behind what is applied: the greater one counts
//   - entries that cannot be read just now: there is no Ready with them, no candidate that needs
//     them, and they are sent later
//   - an election of who votes alone while its log is not on the disk: waits
//   - ReadIndex before the leader committed in its term, which raft-rs forgets: refused
#ifndef CLUSTER_RAFT_RAFT_H_
#define CLUSTER_RAFT_RAFT_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct MqttdRaftGroup MqttdRaftGroup;
typedef struct MqttdRaftSink MqttdRaftSink;

enum {
  MQTTD_RAFT_OK = 0,
  MQTTD_RAFT_NOT_LEADER = 1,
  MQTTD_RAFT_FULL = 2,     // Too much is proposed and not committed, or waits to be written.
  MQTTD_RAFT_BUSY = 3,     // It passes: a transfer, another conf change, nothing committed yet.
  MQTTD_RAFT_INVALID = 4,  // What was asked for makes no sense, or is no Raft message.
  MQTTD_RAFT_REFUSED = 5,
  MQTTD_RAFT_UNKNOWN_PEER = 6,
  MQTTD_RAFT_INSTALLING = 7,
  MQTTD_RAFT_REMOVED = 8,
  MQTTD_RAFT_PANICKED = 9,
  MQTTD_RAFT_NOT_INSTALLED = 10,  // A snapshot, and nobody installs it.
};

typedef struct {
  const uint8_t* data;
  size_t size;
} MqttdRaftBytes;

typedef struct {
  const uint64_t* data;
  size_t count;
} MqttdRaftNumbers;

typedef struct {
  uint64_t index;
  uint64_t term;
} MqttdRaftPlace;

typedef struct {
  MqttdRaftPlace place;
  uint8_t kind;  // eraftpb.EntryType
  MqttdRaftBytes data;
} MqttdRaftEntry;

typedef struct {
  MqttdRaftNumbers voters;
  MqttdRaftNumbers learners;
  MqttdRaftNumbers voters_outgoing;
  MqttdRaftNumbers learners_next;
  bool auto_leave;
} MqttdRaftConfState;

typedef struct {
  uint64_t index;
  MqttdRaftConfState state;
} MqttdRaftConfStateAt;

typedef struct {
  uint64_t term;
  uint64_t vote;
  uint64_t commit;
} MqttdRaftHardState;

typedef struct {
  uint64_t to;
  uint8_t kind;        // eraftpb.MessageType
  bool after_persist;  // It must not leave before this Ready, and those before it, are persisted.
  MqttdRaftBytes data;
} MqttdRaftMessage;

typedef struct {
  uint64_t context;
  uint64_t index;
} MqttdRaftReadState;

typedef struct {
  uint8_t kind;  // eraftpb.ConfChangeType
  uint64_t node;
} MqttdRaftMemberChange;

typedef struct {
  uint64_t node;
  uint64_t seed;            // The same at all members of the group.
  uint32_t election_ticks;  // A follower waits between once and twice as long.
  uint32_t heartbeat_ticks;
  uint64_t message_bytes_max;
  uint32_t messages_in_flight_max;
  uint64_t uncommitted_bytes_max;
  uint64_t committed_bytes_per_ready_max;
  uint64_t entry_bytes_max;
  uint64_t recent_bytes_max;  // Of entries kept in memory.
  bool installs_snapshots;    // Else mqttd_raft_step refuses them.
} MqttdRaftOptions;

enum {
  MQTTD_RAFT_FETCHED = 0,
  MQTTD_RAFT_FETCH_LATER = 1,  // They are there, but cannot be read just now.
  MQTTD_RAFT_FETCH_LOST = 2,
};

// Gives mqttd_raft_sink the entries from `low` up to and without `high`, in order; at least one,
// and then as many as fit into `bytes_max`.
typedef int (*MqttdRaftFetch)(void* context, uint64_t low, uint64_t high, uint64_t bytes_max,
                              MqttdRaftSink* sink);

typedef struct {
  MqttdRaftHardState hard_state;
  MqttdRaftConfState conf_state;  // As of entry `applied`.
  MqttdRaftPlace begin;           // The log begins behind this entry.
  uint64_t last;
  uint64_t applied;
  MqttdRaftFetch fetch;  // Of persisted entries; during any call for the group.
  void* fetch_context;
} MqttdRaftStart;

typedef struct {
  uint64_t number;
  uint8_t role;  // 0: follower, 1: candidate, 2: leader.
  uint64_t term;
  uint64_t leader;  // 0: unknown.
  bool must_sync;   // False: nothing but the commit index is to be written, some time.
  bool has_hard_state;
  MqttdRaftHardState hard_state;
  const MqttdRaftEntry*
      entries;  // To be written. They replace what has their indexes, and all behind.
  size_t entries_count;
  const MqttdRaftEntry* committed;
  size_t committed_count;
  const MqttdRaftConfStateAt* conf_states;  // Which `committed` has brought about.
  size_t conf_states_count;
  const MqttdRaftMessage* messages;
  size_t messages_count;
  const MqttdRaftReadState* read_states;
  size_t read_states_count;
  bool has_snapshot;  // It replaces log and state.
  MqttdRaftPlace snapshot;
  MqttdRaftConfState snapshot_conf_state;
  MqttdRaftBytes snapshot_data;
  bool removed;  // `committed` ends with the removal of this node.
} MqttdRaftReady;

typedef struct {
  uint64_t node;
  uint64_t matched;
  uint64_t next;
  uint8_t state;  // 0: probed, 1: replicated to, 2: gets a snapshot.
  bool recently_active;
} MqttdRaftProgress;

typedef struct {
  uint8_t role;
  uint64_t term;
  uint64_t leader;
  uint64_t commit;
  uint64_t applied;
  uint64_t last;
  bool leads_current_term;            // It leads, and has committed an entry of its term.
  const MqttdRaftProgress* progress;  // Of a leader: all members, by number.
  size_t progress_count;
} MqttdRaftStatus;

// `error` gets words that end with 0, if it fails.
int mqttd_raft_new(const MqttdRaftOptions* options, const MqttdRaftStart* start, char* error,
                   size_t error_bytes, MqttdRaftGroup** group);
void mqttd_raft_free(MqttdRaftGroup* group);
// Of the last call for the group that failed.
MqttdRaftBytes mqttd_raft_error(const MqttdRaftGroup* group);

// `heartbeats`: leaders say at this tick that they lead; true every heartbeat_ticks.
int mqttd_raft_tick(MqttdRaftGroup* group, bool heartbeats);
// `takes_entries`: false refuses a leader's entries.
int mqttd_raft_step(MqttdRaftGroup* group, MqttdRaftBytes message, bool takes_entries);
// All as entries of one message. `first` is the place of the first, the others follow it.
int mqttd_raft_propose(MqttdRaftGroup* group, const MqttdRaftBytes* entries, size_t count,
                       MqttdRaftPlace* first);
int mqttd_raft_propose_members(MqttdRaftGroup* group, const MqttdRaftMemberChange* changes,
                               size_t count, MqttdRaftPlace* at);
int mqttd_raft_read_index(MqttdRaftGroup* group, uint64_t context);

bool mqttd_raft_has_ready(const MqttdRaftGroup* group);
int mqttd_raft_ready(MqttdRaftGroup* group, MqttdRaftReady* ready);
// All Readies up to this number are on the disk.
int mqttd_raft_persisted(MqttdRaftGroup* group, uint64_t number);
// The log now begins behind `index`, or where it did if that is further: that is `begin`.
int mqttd_raft_compact(MqttdRaftGroup* group, uint64_t index, MqttdRaftPlace* begin);

// The follower that was last found to need a snapshot when none was offered that it could use. 0:
// none was since this was called last.
uint64_t mqttd_raft_take_snapshot_wanted(MqttdRaftGroup* group);
// `data` is told to the follower that needs the state as of `index`.
int mqttd_raft_offer_snapshot(MqttdRaftGroup* group, uint64_t index, MqttdRaftBytes data);
// What became of the one that was sent; another has to be offered to the next who needs one.
int mqttd_raft_report_snapshot(MqttdRaftGroup* group, uint64_t to, bool arrived);
int mqttd_raft_report_unreachable(MqttdRaftGroup* group, uint64_t to);
// Of a leader: the others hear now how far entries are committed.
int mqttd_raft_tell_committed(MqttdRaftGroup* group);
int mqttd_raft_transfer(MqttdRaftGroup* group, uint64_t to);
int mqttd_raft_campaign(MqttdRaftGroup* group);
int mqttd_raft_status(MqttdRaftGroup* group, MqttdRaftStatus* status);

bool mqttd_raft_sink(MqttdRaftSink* sink, const MqttdRaftEntry* entry);

#ifdef __cplusplus
}
#endif

#endif  // CLUSTER_RAFT_RAFT_H_
