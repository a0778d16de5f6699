// Looking through the retained messages of all partitions, a page at a time.
#include <algorithm>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "mqtt/topic.h"
#include "storage/core/keys.h"
#include "storage/core/retained.h"
#include "storage/leader/host_core.h"

namespace storage {
namespace {

constexpr size_t kScanPageMax = 256;
constexpr size_t kScanSeeksMax = 2048;  // A few milliseconds.

}  // namespace

void HostCore::Handle(ShardId from, ScanRetained& request) {
  RunScan scan{from, std::move(request)};
  // Reading may work although writing does not; then it waits only for what it must see.
  if (!healthy() && retained_pending_.empty()) return Finish(scan);
  After(std::move(scan));
}

void HostCore::Finish(RunScan& step) { scans_.push_back(std::move(step)); }

// As many as the round has time for, and half of it at most: queues wait for the other half.
void HostCore::RunScans() {
  const size_t stop_at = work_left_ / 2;
  while (!scans_.empty() && state_status_.ok() && work_left_ > stop_at) {
    --work_left_;  // Of a filter for which there is nothing, too.
    RunScan& scan = scans_.front();
    ScanRetained& request = scan.request;
    RetainedScanOptions options;
    options.messages_max = std::clamp<size_t>(request.messages_max, 1, kScanPageMax);
    absl::StatusOr<ScanPage> scanned =
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
      NoteDamage(scanned.status());
      page.status = std::move(scanned).status();
    }
    Send(scan.shard, std::move(page));
    scans_.pop_front();
  }
}

// Over all partitions, from first to last, until the page is full or the work it may cost is done:
// it may be empty and not the last. The cursor is the partition and that one's cursor.
absl::StatusOr<HostCore::ScanPage> HostCore::Scan(std::string_view filter, std::string_view cursor,
                                                  const RetainedScanOptions& options) {
  ScanPage page;
  uint32_t id = 0;
  uint32_t end = options_.partitions;
  if (!mqtt::HasWildcard(filter)) {  // One topic: it can be in one place only.
    id = PartitionOfTopic(filter, options_.partitions);
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
    if (partitions_[id]->retained_messages() == 0) continue;  // Most brokers have few or none.
    ASSIGN_OR_RETURN(RetainedScanPage part,
                     ScanRetainedMessages(store_.reader(), static_cast<PartitionId>(id), filter,
                                          inner, now_.unix_ms, rest));
    for (mqtt::MessagePtr& message : part.messages) page.messages.push_back(std::move(message));
    const size_t seeks = part.seeks + 1;  // An empty partition costs its iterator.
    work_left_ -= std::min(work_left_, seeks);
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
