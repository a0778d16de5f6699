#include "storage/leader/retained_scans.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "mqtt/topic.h"
#include "storage/core/keys.h"
#include "storage/core/retained.h"
#include "storage/leader/leader.h"
#include "storage/leader/read_barriers.h"

namespace storage {
namespace {

// Without most nodes nobody knows what is missing here: what is there is better than nothing.
constexpr absl::Duration kCurrentWithin = absl::Seconds(2);
constexpr size_t kScanPageMax = 256;
constexpr size_t kScanSeeksMax = 2048;  // A few milliseconds.

}  // namespace

PartitionMask RetainedScans::PartitionsOf(std::string_view filter) const {
  const uint32_t partitions = node_.options.partitions;
  if (!mqtt::HasWildcard(filter)) return BitOf(PartitionOfTopic(filter, partitions));
  return partitions == kPartitionsMax ? ~PartitionMask{0} : (PartitionMask{1} << partitions) - 1;
}

// What of that is not applied is waited for, here and, where other nodes may have acknowledged it,
// there.
void RetainedScans::WhenCurrent(PartitionMask reads, std::function<void()> then) {
  node_.barriers->Wait(reads, kCurrentWithin, [this, reads, then = std::move(then)]() mutable {
    PartitionMask wait_for = 0;
    for (const auto& leader : node_.leaders) {
      const PartitionMask bit = BitOf(leader->id());
      if (!leader->expiry().retained_pending().empty()) wait_for |= reads & bit;
    }
    if (wait_for == 0) return then();
    node_.After(wait_for, std::move(then));
  });
}

void RetainedScans::Handle(const ShardAddress& from, ScanRetained& request) {
  PartitionMask reads = PartitionsOf(request.filter);
  for (const std::string& other : request.others) reads |= PartitionsOf(other);
  WhenCurrent(reads, [this, from, request = std::move(request)]() mutable {
    scans_.push_back({.shard = from, .request = std::move(request)});
  });
}

void RetainedScans::Run() {
  const size_t stop_at = node_.work_left / 2;
  while (!scans_.empty() && node_.state_status.ok() && node_.work_left > stop_at) {
    --node_.work_left;  // Of a filter for which there is nothing, too.
    Asked& scan = scans_.front();
    ScanRetained& request = scan.request;
    RetainedScanOptions options;
    options.messages_max = std::clamp<size_t>(request.messages_max, 1, kScanPageMax);
    absl::StatusOr<Page> scanned =
        Scan(scan.passed == 0 ? request.filter : request.others[scan.passed - 1], request.cursor,
             options);
    if (scanned.ok() && scanned->messages.empty() && scanned->cursor.empty() &&
        scan.passed < request.others.size()) {
      ++scan.passed;
      request.cursor.clear();
      continue;
    }
    RetainedPage page;
    page.token = request.token;
    page.passed = scan.passed;
    if (scanned.ok()) {
      page.messages = std::move(scanned->messages);
      page.cursor = std::move(scanned->cursor);
    } else {
      node_.NoteDamage(scanned.status());
      page.status = std::move(scanned).status();
    }
    node_.Send(scan.shard, std::move(page));
    scans_.pop_front();
  }
}

absl::StatusOr<RetainedScans::Page> RetainedScans::Scan(std::string_view filter,
                                                        std::string_view cursor,
                                                        const RetainedScanOptions& options) {
  Page page;
  uint32_t id = 0;
  uint32_t end = node_.options.partitions;
  if (!mqtt::HasWildcard(filter)) {  // One topic: it can be in one place only.
    id = PartitionOfTopic(filter, node_.options.partitions);
    end = id + 1;
  }
  std::string inner;
  if (!cursor.empty()) {
    id = static_cast<uint8_t>(cursor[0]);
    inner = cursor.substr(1);
    if (id >= end) return absl::InvalidArgumentError("a cursor of another filter");
  }
  RetainedScanOptions rest = options;
  rest.seeks_max = kScanSeeksMax;
  for (; id < end; ++id, inner.clear()) {
    if (node_.leaders[id]->partition().retained_messages() == 0)
      continue;  // Most brokers have few or none.
    ASSIGN_OR_RETURN(RetainedScanPage part,
                     ScanRetainedMessages(node_.reader, static_cast<PartitionId>(id), filter, inner,
                                          node_.leaders[id]->Now(), rest));
    for (mqtt::MessagePtr& message : part.messages) page.messages.push_back(std::move(message));
    const size_t seeks = part.seeks + 1;  // An empty partition costs its iterator.
    node_.work_left -= std::min(node_.work_left, seeks);
    rest.seeks_max -= std::min(rest.seeks_max, seeks);
    rest.bytes_max -= std::min(rest.bytes_max, part.bytes);
    const bool full =
        page.messages.size() >= options.messages_max || rest.seeks_max == 0 || rest.bytes_max == 0;
    const bool more = !part.cursor.empty();
    if (more || (full && id + 1 < end)) {
      page.cursor.push_back(static_cast<char>(more ? id : id + 1));
      if (more) page.cursor += part.cursor;
      return page;
    }
    rest.messages_max = options.messages_max - std::min(options.messages_max, page.messages.size());
  }
  return page;
}

}  // namespace storage
