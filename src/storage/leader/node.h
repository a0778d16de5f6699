// What the leaders of one node share.
#ifndef STORAGE_LEADER_NODE_H_
#define STORAGE_LEADER_NODE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/rng.h"
#include "storage/core/host_message.h"
#include "storage/core/kv.h"
#include "storage/core/metrics.h"
#include "storage/core/options.h"
#include "storage/core/partition_api.h"
#include "storage/leader/deadlines.h"
#include "storage/leader/identifier_fights.h"
#include "storage/leader/proposal.h"
#include "storage/leader/session_census.h"
#include "storage/leader/shard_table.h"
#include "storage/leader/share_members.h"

namespace storage {

class FedRoutes;
class Leader;
class LogLedger;
class Publishing;
class ReadBarriers;
class RetainedScans;
class Routes;

// Part of the host, used on its thread: bounds that are the node's and not a partition's, what has
// to be known of all partitions at once, and the way out to the shards. No leader needs anything of
// another one but through this.
struct Node {
  Node(const StorageOptions& the_options, ShardId the_shards, const StateReader& the_reader,
       HostMetrics& the_metrics, base::Rng& rng);

  const StorageOptions& options;
  ShardTable shards;          // Of all nodes.
  const StateReader& reader;  // Of the state, for all partitions.
  HostMetrics& metrics;
  // Which partitions are led here and served. One that is lost, or gets a new leader, goes from it
  // at once, before anything that looks at the partitions; one that is served comes to it when the
  // metrics have counted it. Any thread may read it.
  std::atomic<PartitionMask> led{0};
  // Random: nobody can choose a user name with another one's hash.
  const uint64_t owner_key;
  HostTime now;
  // What the access rules say of somebody's will at the moment at which it is due, and of a message
  // for a member of a `$share` group when it is chosen. Null: yes.
  std::function<bool(const SessionUser& author, std::string_view topic)> may_publish;
  std::function<bool(const SessionUser& reader, std::string_view topic)> may_read;
  bool shutting_down = false;
  // To the host of another node; what is lost is asked again, or told anew, after Host::Resync. And
  // CommandLog's TellCommitted and SetFit. Null: there are no other nodes.
  std::function<void(NodeId to, HostMessage message)> send;
  std::function<void(PartitionId)> tell_committed;
  std::function<void(PartitionId, bool fit)> set_fit;
  // Of which partitions there is a replica here. The other ones are led elsewhere, and nothing of
  // them is known but what their leaders tell.
  PartitionMask held = ~PartitionMask{0};
  bool Holds(PartitionId id) const { return (held & BitOf(id)) != 0; }

  // ---- The others. Made by the host.
  std::vector<std::unique_ptr<Leader>> leaders;  // By partition.
  Publishing* publishing = nullptr;
  RetainedScans* scans = nullptr;
  ReadBarriers* barriers = nullptr;
  Routes* routes = nullptr;
  FedRoutes* fed = nullptr;
  const LogLedger* log = nullptr;
  // How far this node's shards have been told of the partition's routes.
  uint64_t RoutesToldThrough(PartitionId id) const;
  PartitionId PartitionOf(std::string_view client_id) const;
  Leader& LeaderOf(std::string_view client_id) const { return *leaders[PartitionOf(client_id)]; }
  // Where the topic's retained message is.
  Leader& HomeOf(std::string_view topic) const;
  void Release(const HeldRooms& rooms) const;
  // Once everything proposed so far to these partitions is applied; now, if nothing is.
  void After(PartitionMask which, std::function<void()> then);

  // ---- What is collected for the log. One write for all partitions, so that one sync is enough.
  struct Growing {
    std::vector<PartitionId> used;  // Their leaders have a proposal that grows.
    size_t commands = 0;
    size_t bytes = 0;
    bool needs_sync = false;  // Somebody is answered only once it is on the disk.
    bool urgent = false;      // It must not wait for company.
    uint64_t will_bytes = 0;  // Of wills that it puts into outboxes.
    absl::Duration since;     // When its first command came.
    bool IsFull(const StorageOptions& bounds) const {
      return commands >= bounds.group_commands_max || bytes >= bounds.group_bytes_max;
    }
  };
  Growing growing;
  // What the partition's leader has in it: it leads no more.
  void ForgetGrowing(PartitionId id);
  uint64_t last_order = 0;  // Of all commands proposed: what is older, in whatever partition.
  // What is done of the host's own accord waits when a write has many commands: a crowd of sessions
  // that end at once must not hold up who publishes.
  bool RoomForBackground() const;
  // A crowd of wills may be due at once, as at the start after a crash, and may be all that fits
  // into the memory: so many bytes of them are proposed and not committed, the others wait where
  // they are. One that is larger goes alone.
  uint64_t will_bytes = 0;
  bool RoomForWills() const;
  void ProposedWill(const mqtt::Message& message);

  // ---- To the shards.
  std::vector<std::vector<Event>> outbox;  // By slot.
  uint64_t outbox_round = 1;
  void SendTo(ShardSlot slot, Event event) { outbox[slot].push_back(std::move(event)); }
  // To nobody, if the life of its node is over.
  void Send(const ShardAddress& shard, Event event) {
    const ShardSlot slot = shards.SlotOf(shard);
    if (slot != kNoShardSlot) SendTo(slot, std::move(event));
  }
  // The same, for who adds to what is there.
  std::vector<Event>& EventsFor(const ShardAddress& shard);
  std::vector<Event> TakeEvents(ShardSlot slot);
  void SendToAll(const Event& event);  // Of all nodes.
  void SendToOwn(const Event& event);
  // Records of outboxes that shards have been told of and have not passed on. One that is larger
  // goes alone.
  struct Told {
    size_t messages = 0;
    uint64_t bytes = 0;
    bool HasRoom() const;
    void Add(uint64_t more) {
      ++messages;
      bytes += more;
    }
    void Remove(uint64_t fewer) {
      --messages;
      bytes -= fewer;
    }
  };
  Told outbox_told;

  // ---- Storage that fails.
  absl::Status log_status;
  absl::Status state_status;
  // What is committed waits for the state to work again, perhaps only for a moment. What was to be
  // written is neither in memory nor there: queues and outboxes are not to be read.
  bool stalled = false;
  bool disk_low = false;
  // Of who runs the host: a write of the log has been under way for long; and this node serves no
  // clients, since others had to wait for it (storage/leader/aside.h). Then it leads nothing that
  // another node can lead, and passes nothing on: its shards may not know all routes.
  bool log_is_late = false;
  bool aside = false;
  // Why what is committed is not applied here, to all partitions or to one of them.
  absl::Status Standing() const;
  bool healthy() const { return log_status.ok() && state_status.ok(); }
  // What a request that must be logged is answered with now; `stores`: it takes room.
  absl::Status Refusal(bool stores) const;
  // Whatever found it. What is intact goes on being served.
  void NoteDamage(const absl::Status& status);

  // ---- Work of one round, each about a microsecond: messages and seeks.
  size_t work_left = 0;
  size_t shared_work_until = 0;    // What is done for `$share` groups leaves so much of it.
  size_t sessions_left = 0;        // Whose queues are read.
  absl::Duration sweep_queues_at;  // Queues are searched for what has expired again then.

  // ---- Of all partitions together.
  IdentifierFights fights;
  ShareMembers share_members;
  SessionCensus census;
  uint64_t opening_new = 0;  // Sessions that are being made.
  uint64_t giving_way = 0;   // Sessions whose end to make room is being committed.
  uint64_t StoredSessions() const;
  // Ends the session whose client is away longest. False: none may give way.
  bool EndOldestAway(SessionCensus::Holds holds);
  bool StillAway(const SessionCensus::Away& away) const;
  void RecountSessions();

 private:
  std::vector<Event> lost_;  // For shards that are not there any more.
  bool damage_told_ = false;
};

}  // namespace storage

#endif  // STORAGE_LEADER_NODE_H_
