// The thread that owns all partitions of a node, and the log that makes what they do durable.
#ifndef STORAGE_PARTITION_HOST_H_
#define STORAGE_PARTITION_HOST_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/timeline.h"
#include "storage/command_log_place.h"
#include "storage/core/host_message.h"
#include "storage/core/metrics.h"
#include "storage/core/options.h"
#include "storage/core/partition_api.h"

namespace rocksdb {
class Env;
}

namespace storage {

class Host;

// Owned by main. What was answered OK survives kill -9 at any moment (and a power cut, as
// `StorageOptions::durability` says); claims of transient sessions live as long as the process.
//
// Of the seam in partition_api.h, precisely:
// - Answers to one shard's requests about one partition come in the order of the requests, but for
//   refusals. (SubscribeDone may be overtaken: it waits for the shards.) Partitions answer
//   independently of each other, each for its part of a Publish.
// - CloseSession is taken from the connection that holds the claim, whatever its `epoch` says when
//   that is 0: so a connection that ends before SessionOpened came may close at once (then no
//   SessionOpened comes), or wait for SessionOpened and close then.
// - While the disk is full or fails, new requests that have to be stored are answered
//   kResourceExhausted or kUnavailable at once, before the answers to older ones; claims of
//   transient sessions go on; CloseSession and Acknowledge are kept in memory and logged when that
//   is possible again. Requests that were handed to the log before the failure have no answer until
//   it is over: they may be on the disk, so they are never refused. Those that were not are, then.
// - While the state of one partition cannot be read, what concerns it is refused, what was handed
// to
//   the log waits, and the others serve.
class PartitionHost {
 public:
  // Opens or creates the store, replays what the last process had logged but not written out.
  // Errors, all saying what to do: kInvalidArgument (options, or they contradict the store),
  // kUnavailable (another process has it), kPermissionDenied, kFailedPrecondition (a format this
  // program does not know), kDataLoss (damage), kResourceExhausted (no room).
  // Cost: sessions and subscriptions are read, queues are not.
  // `clock` and `sink` outlive the host. `env` is for tests: the file system to use; null is the
  // real one.
  static absl::StatusOr<std::unique_ptr<PartitionHost>> Open(const StorageOptions& options,
                                                             const CommandLogOpener& open_log,
                                                             const base::Clock& clock,
                                                             EventSink& sink, ShardId shards,
                                                             rocksdb::Env* env = nullptr);
  virtual ~PartitionHost() = default;  // Stops, if Stop was not called.

  // Starts the threads. Shards get every stored session's routes; `ready` is called once, on the
  // host's thread, when all of them have confirmed these.
  virtual void Start(std::function<void()> ready) = 0;

  // ---- In a cluster.
  // Which life of which node this is, once, and who else lives: before Start, and whenever that
  // changes. Any thread. Without it this is a node alone.
  virtual void SetNodes(const LiveNode& self, std::vector<LiveNode> others) = 0;
  // See Host::Resync. Any thread, before what comes over the new link is submitted. On the host's
  // thread `begins` is called first; what follows goes to the sink at the end of the same turn.
  virtual void Resync(NodeId node, std::function<void()> begins) = 0;

  // From the host of another node; `life`: in which it said so. What goes the other way is given to
  // what was set before Start, on the host's thread. Any thread.
  virtual void OnHostMessage(NodeId from, Incarnation life, HostMessage message) = 0;
  virtual void SetSend(std::function<void(NodeId to, HostMessage message)> send) = 0;

  // See Aside. `close` with why, in words: closes all clients of this node and lets none in, and
  // calls `done` when that is so; empty: lets them in again. On any thread; does not block. Set
  // before the node hears from others.
  using SetClosed = std::function<void(const std::string& why, std::function<void()> done)>;
  virtual void SetDoor(SetClosed close) = 0;

  // Any shard's thread, in the order it wants things done; for shards of other nodes, one thread
  // for each in the order in which it asked. Costs an allocation and an atomic
  // operation, and a wake-up if the host sleeps. An empty batch costs nothing.
  virtual void Submit(const ShardAddress& from, std::vector<Addressed> batch) = 0;

  // For who looks at the partitions from outside, or steers them: rare and short. Runs on the
  // host's thread, before what is submitted later; never, if the host has stopped. Any thread.
  virtual void Run(std::function<void(Host&)> task) = 0;

  // A copy of the store as it is at one moment, from which a start goes on as after kill -9 then.
  // In `directory`, which must not exist, on the data directory's file system: links to files, of
  // which CopyBackup makes a store. `done` is called once, on some thread. Any thread; one at a
  // time. Made on a thread of its own: neither the host's nor the log's waits for it, and the log
  // is not cut meanwhile.
  virtual void Checkpoint(std::string directory, std::function<void(absl::Status)> done) = 0;

  // Commits and answers all that was submitted (in a cluster as far as others answer within some
  // seconds), writes the state out, syncs, ends the threads. The
  // next start replays nothing. Call it once every shard has closed its sessions
  // (kServerShutdown). Returns what could not be written.
  virtual absl::Status Stop() = 0;

  virtual const HostMetrics& metrics() const = 0;
  // The partitions that this node leads. Any thread.
  virtual PartitionMask led() const = 0;
  // As the store was made: who asks says which of them is to answer.
  virtual uint32_t partitions() const = 0;

  // By which the intervals of messages and sessions are counted, here and by who publishes to it.
  // Set when the store is open; in a cluster put to the time of that before Start.
  const base::Timeline& timeline() const { return timeline_; }
  base::Timeline& timeline() { return timeline_; }

  // Which start of this store it is. Set when it is open.
  Incarnation incarnation() const { return incarnation_; }
  // One of this node's own.
  ShardAddress OwnShard(ShardId shard) const {
    return {.node = node_, .shard = shard, .incarnation = incarnation_};
  }

  // Random, made with the store, never changed: "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".
  virtual const std::string& node_id() const = 0;

 protected:
  base::Timeline timeline_;
  NodeId node_;
  Incarnation incarnation_;
};

}  // namespace storage

#endif  // STORAGE_PARTITION_HOST_H_
