// Looking through the retained messages of all partitions, a page at a time.
#ifndef STORAGE_LEADER_RETAINED_SCANS_H_
#define STORAGE_LEADER_RETAINED_SCANS_H_

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "mqtt/message.h"
#include "storage/core/partition_api.h"
#include "storage/core/retained.h"
#include "storage/leader/node.h"

namespace storage {

// Part of the host, used on its thread.
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

  struct Page {
    std::vector<mqtt::MessagePtr> messages;
    std::string cursor;
  };
  // Over all partitions, from first to last, until the page is full or the work it may cost is
  // done: it may be empty and not the last. The cursor is the partition and that one's cursor.
  absl::StatusOr<Page> Scan(std::string_view filter, std::string_view cursor,
                            const RetainedScanOptions& options);

  // Where what matches the filter may be.
  PartitionMask PartitionsOf(std::string_view filter) const;

 private:
  struct Asked {
    ShardAddress shard;
    ScanRetained request;
    uint32_t passed = 0;  // As RetainedPage tells.
  };

  Node& node_;
  std::deque<Asked> scans_;  // One per shard's request; a shard asks for a page at a time.
};

}  // namespace storage

#endif  // STORAGE_LEADER_RETAINED_SCANS_H_
