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
// A node that lives answers within the time of its own barrier, or is taken for one that does not.
constexpr absl::Duration kAskedElsewhereWithin = absl::Seconds(3);
constexpr absl::Duration kAskedAgainAfter = absl::Milliseconds(100);
// What cannot be read here is asked of others for so long.
constexpr absl::Duration kElsewhereWithin = absl::Seconds(5);

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

void RetainedScans::Ask(std::string filter, std::string cursor, const RetainedScanOptions& options,
                        std::function<void(absl::StatusOr<Page>)> done) {
  const PartitionMask reads = PartitionsOf(filter);
  ScanRetained request{.filter = std::move(filter), .cursor = std::move(cursor)};
  request.messages_max = static_cast<uint32_t>(std::min(options.messages_max, kScanPageMax));
  WhenCurrent(reads, [this, request = std::move(request), done = std::move(done)]() mutable {
    scans_.push_back({.request = std::move(request), .done = std::move(done)});
  });
}

void RetainedScans::Run() {
  for (auto it = elsewhere_.begin(); it != elsewhere_.end();) {
    if (it->second.until > node_.now.monotonic) {
      ++it;
      continue;
    }
    Asked scan = std::move(it->second.scan);
    it = elsewhere_.erase(it);
    scans_.push_front(std::move(scan));
  }
  if (!node_.state_status.ok() && node_.shards.in_cluster()) LetOthersRead();
  const size_t stop_at = node_.work_left / 2;
  // What is applied and on its way to the state cannot be read there yet.
  while (!scans_.empty() && !node_.stalled && node_.work_left > stop_at) {
    --node_.work_left;  // Of a filter for which there is nothing, too.
    Asked& scan = scans_.front();
    if (!IsReadHere(scan)) {
      Asked other = std::move(scan);
      scans_.pop_front();
      AskElsewhere(std::move(other));
      continue;
    }
    ScanRetained& request = scan.request;
    RetainedScanOptions options;
    options.messages_max = std::clamp<size_t>(request.messages_max, 1, kScanPageMax);
    absl::StatusOr<Page> scanned =
        Scan(scan.passed == 0 ? request.filter : request.others[scan.passed - 1], request.cursor,
             options, PlaceOf(scan));
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
    Asked answered = std::move(scan);
    scans_.pop_front();
    if (page.status.ok()) {
      Answer(answered, std::move(page));
    } else {
      Failed(std::move(answered), node_.shards.self().node, std::move(page));
    }
  }
}

void RetainedScans::Answer(Asked& scan, RetainedPage page) {
  if (scan.ticket != 0) return node_.send(scan.node, ScanDone{scan.ticket, std::move(page)});
  if (scan.done == nullptr) return node_.Send(scan.shard, std::move(page));
  if (!page.status.ok()) return scan.done(page.status);
  scan.done(Page{std::move(page.messages), std::move(page.cursor)});
}

// ---- Partitions of which there is no replica here -----------------------------------------------

PartitionId RetainedScans::PlaceOf(const Asked& scan) const {
  if (!scan.request.cursor.empty()) return static_cast<uint8_t>(scan.request.cursor[0]);
  const std::string& filter =
      scan.passed == 0 ? scan.request.filter : scan.request.others[scan.passed - 1];
  return mqtt::HasWildcard(filter) ? PartitionId{0}
                                   : PartitionOfTopic(filter, node_.options.partitions);
}

bool RetainedScans::Reads(PartitionId id) const {
  if (!node_.Holds(id)) return false;
  const Replica& replica = node_.leaders[id]->replica();
  if (replica.status().ok() || replica.stopped()) return true;
  return absl::IsDataLoss(replica.status()) && OthersWith(id).empty();
}

bool RetainedScans::ReadsAll(PartitionMask partitions) const {
  return std::all_of(node_.leaders.begin(), node_.leaders.end(), [&](const auto& leader) {
    return (partitions & BitOf(leader->id())) == 0 || Reads(leader->id());
  });
}

bool RetainedScans::IsReadHere(Asked& scan) const {
  const PartitionId place = PlaceOf(scan);
  if (place >= node_.options.partitions) return true;  // That is no cursor: Scan says so.
  if (Reads(place) && !scan.HasFailedAt(node_.shards.self().node)) return true;
  if (!node_.Holds(place) || scan.ticket != 0) return false;
  scan.read_by = std::min(scan.read_by, node_.now.monotonic + kElsewhereWithin);
  return node_.now.monotonic >= scan.read_by;
}

std::vector<NodeId> RetainedScans::OthersWith(PartitionId place) const {
  std::vector<NodeId> nodes;
  if (place >= node_.options.partitions) return nodes;
  for (const ShardTable::Other& other : node_.shards.others()) {
    if ((other.life.replicas & BitOf(place)) != 0) nodes.push_back(other.life.node);
  }
  return nodes;
}

// While nothing can be read here.
void RetainedScans::LetOthersRead() {
  std::deque<Asked> left;
  for (Asked& scan : std::exchange(scans_, {})) {
    scan.read_by = std::min(scan.read_by, node_.now.monotonic + kElsewhereWithin);
    const bool asks = node_.now.monotonic < scan.read_by && !OthersWith(PlaceOf(scan)).empty();
    if (scan.ticket != 0 || asks) {
      AskElsewhere(std::move(scan));
    } else {
      left.push_back(std::move(scan));
    }
  }
  scans_ = std::move(left);
}

void RetainedScans::Failed(Asked scan, NodeId at, RetainedPage page) {
  std::vector<NodeId> others = OthersWith(PlaceOf(scan));
  scan.failed.push_back(at);
  std::erase_if(others, [&](NodeId other) { return scan.HasFailedAt(other); });
  const bool asks = scan.ticket == 0 && !absl::IsInvalidArgument(page.status) &&
                    node_.now.monotonic < scan.read_by;
  if (asks && !others.empty()) return AskElsewhere(std::move(scan));
  Answer(scan, std::move(page));
}

void RetainedScans::AskElsewhere(Asked scan) {
  const PartitionId place = PlaceOf(scan);
  // Whoever asks has not heard yet where replicas are, and asks again.
  if (scan.ticket != 0) {
    RetainedPage none;
    none.status = absl::UnavailableError("there is no replica here that can be read");
    // Not now, or never.
    if (node_.Holds(place) && absl::IsDataLoss(node_.leaders[place]->replica().status()))
      none.status = node_.leaders[place]->replica().status();
    return Answer(scan, std::move(none));
  }
  const uint64_t ticket = ++last_ticket_;
  std::vector<NodeId> nodes = OthersWith(place);
  std::erase_if(nodes, [&](NodeId node) { return scan.HasFailedAt(node); });
  if (nodes.empty()) scan.failed.clear();  // Who had it meanwhile is gone.
  Elsewhere& asked = elsewhere_[ticket];
  asked.scan = std::move(scan);
  const bool nobody = nodes.empty() || node_.send == nullptr;  // Just now.
  asked.until = node_.now.monotonic + (nobody ? kAskedAgainAfter : kAskedElsewhereWithin);
  if (nobody) return;
  asked.node = nodes[ticket % nodes.size()];
  // What was passed need not be looked for again, but counts.
  ScanWanted wanted{.ticket = ticket, .scan = asked.scan.request};
  if (asked.scan.passed != 0) {
    const auto passed = static_cast<std::ptrdiff_t>(asked.scan.passed);
    wanted.scan.filter = wanted.scan.others[asked.scan.passed - 1];
    wanted.scan.others.erase(wanted.scan.others.begin(), wanted.scan.others.begin() + passed);
  }
  node_.send(asked.node, std::move(wanted));
}

void RetainedScans::Hear(NodeId from, const ScanWanted& wanted) {
  PartitionMask reads = PartitionsOf(wanted.scan.filter);
  for (const std::string& other : wanted.scan.others) reads |= PartitionsOf(other);
  WhenCurrent(reads, [this, from, wanted] {
    scans_.push_back({.request = wanted.scan, .node = from, .ticket = wanted.ticket});
  });
}

void RetainedScans::Hear(NodeId from, const ScanDone& done) {
  const auto found = elsewhere_.find(done.ticket);
  if (found == elsewhere_.end()) return;  // Another one was asked meanwhile.
  // Somebody else may have it. Not at once: all may say so.
  if (absl::IsUnavailable(done.page.status)) {
    found->second.until = std::min(found->second.until, node_.now.monotonic + kAskedAgainAfter);
    return;
  }
  Asked scan = std::move(found->second.scan);
  elsewhere_.erase(found);
  RetainedPage page = done.page;
  page.token = scan.request.token;
  page.passed += scan.passed;
  if (!page.status.ok()) return Failed(std::move(scan), from, std::move(page));
  Answer(scan, std::move(page));
}

void RetainedScans::Resync(NodeId node) {
  for (auto& [ticket, asked] : elsewhere_) {
    if (asked.node == node) asked.until = node_.now.monotonic;
  }
}

std::optional<absl::Duration> RetainedScans::Next() const {
  std::optional<absl::Duration> next;
  for (const auto& [ticket, asked] : elsewhere_) {
    next = next.has_value() ? std::min(*next, asked.until) : asked.until;
  }
  return next;
}

absl::StatusOr<RetainedScans::Page> RetainedScans::Scan(std::string_view filter,
                                                        std::string_view cursor,
                                                        const RetainedScanOptions& options,
                                                        std::optional<PartitionId> regardless) {
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
    if (!Reads(static_cast<PartitionId>(id)) && regardless != id) {
      page.cursor.push_back(static_cast<char>(id));
      page.cursor += inner;
      return page;
    }
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
