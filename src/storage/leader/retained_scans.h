// Looking through the retained messages of all partitions, a page at a time.
#ifndef STORAGE_LEADER_RETAINED_SCANS_H_
#define STORAGE_LEADER_RETAINED_SCANS_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mqtt/message.h"
#include "storage/core/host_message.h"
#include "storage/core/partition_api.h"
#include "storage/core/retained.h"
#include "storage/leader/node.h"

namespace storage {

// Part of the host, used on its thread. A partition of which there is no replica here, or one that
// cannot be read, is looked through by a node that has one, which goes on as far as it can; if it
// does not answer for long, or cannot, another one is asked.
class RetainedScans {
 public:
  explicit RetainedScans(Node& node) : node_(node) {}

  // It sees what was asked for before it.
  void Handle(const ShardAddress& from, ScanRetained& request);
  // Calls `then` when what was retained there before now can be read here.
  void WhenCurrent(PartitionMask reads, std::function<void()> then);
  // As many as the round has time for, and half of it at most: queues wait for the other half.
  void Run();
  bool empty() const { return scans_.empty(); }
  // When somebody else is to be asked.
  std::optional<absl::Duration> Next() const;

  struct Page {
    std::vector<mqtt::MessagePtr> messages;
    std::string cursor;
  };
  // Over all partitions, from first to last, until the page is full or the work it may cost is
  // done: it may be empty and not the last. The cursor is the partition and that one's cursor. It
  // ends where there is no replica that can be read, but at `regardless`.
  absl::StatusOr<Page> Scan(std::string_view filter, std::string_view cursor,
                            const RetainedScanOptions& options,
                            std::optional<PartitionId> regardless = std::nullopt);
  // The same over partitions of other nodes, too.
  void Ask(std::string filter, std::string cursor, const RetainedScanOptions& options,
           std::function<void(absl::StatusOr<Page>)> done);

  // There is a replica here, and what it has applied can be read. One that cannot be is read all
  // the same if it is damaged and no other node has one.
  bool Reads(PartitionId id) const;
  bool ReadsAll(PartitionMask partitions) const;
  // Where what matches the filter may be.
  PartitionMask PartitionsOf(std::string_view filter) const;

  // ---- Other nodes.
  void Hear(NodeId from, const ScanWanted& wanted);
  void Hear(NodeId from, const ScanDone& done);
  // What was asked of that node has no answer.
  void Resync(NodeId node);

 private:
  struct Asked {
    ShardAddress shard;
    ScanRetained request;
    uint32_t passed = 0;  // As RetainedPage tells.
    // Instead of a shard, another node, or somebody here.
    NodeId node;
    uint64_t ticket = 0;
    std::function<void(absl::StatusOr<Page>)> done;
    // Those that could not read it, this one too.
    std::vector<NodeId> failed;
    // From then on what is there is better than nothing.
    absl::Duration read_by = absl::InfiniteDuration();
    bool HasFailedAt(NodeId at) const {
      return std::find(failed.begin(), failed.end(), at) != failed.end();
    }
  };
  struct Elsewhere {
    Asked scan;
    NodeId node;
    absl::Duration until;
  };

  void Answer(Asked& scan, RetainedPage page);
  // Where it goes on.
  PartitionId PlaceOf(const Asked& scan) const;
  // Where it goes on is to be read here now.
  bool IsReadHere(Asked& scan) const;
  std::vector<NodeId> OthersWith(PartitionId place) const;
  void AskElsewhere(Asked scan);
  // `at`: that node cannot read it. Another one is asked if there is one.
  void Failed(Asked scan, NodeId at, RetainedPage page);
  void LetOthersRead();

  Node& node_;
  std::deque<Asked> scans_;  // One per shard's request; a shard asks for a page at a time.
  std::map<uint64_t, Elsewhere> elsewhere_;  // The same, by ticket.
  uint64_t last_ticket_ = 0;
};

}  // namespace storage

#endif  // STORAGE_LEADER_RETAINED_SCANS_H_
