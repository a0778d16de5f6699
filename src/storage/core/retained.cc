#include "storage/core/retained.h"

#include <optional>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "mqtt/topic.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/retained_record.h"
#include "storage/core/wire.h"

namespace storage {
namespace {

constexpr uint32_t kMessage = 1, kOrder = 2, kPartitions = 3, kOfPartitions = 4;
constexpr uint32_t kExpiryOrder = 1, kExpiryBytes = 2;  // Of RetainedExpiry.

constexpr char kSeparator = '\0';  // Of levels, in keys.
constexpr char kAfterSeparator = '\x01';

using LevelList = absl::InlinedVector<std::string_view, 16>;

LevelList Split(std::string_view text, char separator) {
  LevelList levels;
  for (size_t at = 0;;) {
    const size_t end = text.find(separator, at);
    levels.push_back(text.substr(at, end - at));
    if (end == std::string_view::npos) return levels;
    at = end + 1;
  }
}

// Where a scan stands: at a topic that matches, before the first that may, or behind the last.
struct Step {
  enum class Kind { kMatch, kSeek, kEnd };
  Kind kind = Kind::kEnd;
  std::string target;  // kSeek: greater than the topic.
};

Step SeekTo(std::string target) { return {Step::Kind::kSeek, std::move(target)}; }

// Topics in the order of their keys are a depth-first walk of the tree of levels. Given a topic
// where the walk stands, `Judge` says where the next match can be.
class FilterWalk {
 public:
  explicit FilterWalk(std::string_view filter) : levels_(Split(filter, '/')) {}

  // The least topic (in the form of keys) that can match.
  std::string First() const {
    std::string first;
    for (size_t i = 0; i < levels_.size(); ++i) {
      if (levels_[i] == "#" || levels_[i] == "+") break;
      if (i != 0) first.push_back(kSeparator);
      first.append(levels_[i]);
    }
    return first;
  }

  Step Judge(std::string_view topic) const {
    if (IsWildcard(levels_[0]) && !topic.empty() && topic.front() == '$') {
      return SeekTo(std::string(1, '$' + 1));  // [MQTT-4.7.2-1]
    }
    const LevelList have = Split(topic, kSeparator);
    for (size_t i = 0; i < levels_.size(); ++i) {
      const std::string_view want = levels_[i];
      if (want == "#") return {Step::Kind::kMatch, {}};
      if (i == have.size()) {  // Too short: what is needed lies below it.
        std::string below(topic);
        below.push_back(kSeparator);
        if (want != "+") below.append(want);
        return SeekTo(std::move(below));
      }
      if (want == "+" || want == have[i]) continue;
      if (have[i] < want) return SeekTo(std::string(Before(topic, have[i])).append(want));
      return NextSibling(topic, have, i);
    }
    if (have.size() == levels_.size()) return {Step::Kind::kMatch, {}};
    return NextSibling(topic, have, levels_.size());  // Too long, and so is all that lies below.
  }

 private:
  static bool IsWildcard(std::string_view level) { return level == "+" || level == "#"; }

  // What of the topic stands before one of its levels, separator included.
  static std::string_view Before(std::string_view topic, std::string_view level) {
    return topic.substr(0, static_cast<size_t>(level.data() - topic.data()));
  }

  // Past everything below the deepest '+' in front of level `end`: only there another value may do.
  Step NextSibling(std::string_view topic, const LevelList& have, size_t end) const {
    for (size_t i = end; i-- > 0;) {
      if (levels_[i] != "+") continue;
      std::string target(Before(topic, have[i]));
      target.append(have[i]);
      target.push_back(kAfterSeparator);
      return SeekTo(std::move(target));
    }
    return {Step::Kind::kEnd, {}};
  }

  LevelList levels_;
};

bool CameLive(const RetainedView& record, const RetainedScanOptions& options) {
  if (record.order <= options.since_order) return false;
  const bool in_partition =
      options.live_partition < kPartitionsMax && record.WentTo(options.live_partition);
  return in_partition || record.order > options.live_order;
}

mqtt::MessagePtr Retained(mqtt::MessageParts parts) {
  parts.retain = true;  // [MQTT311-3.3.1-8]
  return mqtt::Message::Create(parts);
}

absl::Status Unreadable(std::string_view key) {
  return absl::DataLossError(absl::StrCat("unreadable retained message of '", TopicOf(key), "'"));
}

// One scan: the page it fills, and what it may still take.
class Scan {
 public:
  Scan(int64_t now_unix_ms, const RetainedScanOptions& options)
      : now_unix_ms_(now_unix_ms), options_(options) {}

  enum class Taken { kYes, kPageFull, kUnreadable };
  Taken Take(std::string_view value) {
    const std::optional<RetainedView> record = ParseRetained(value);
    const auto parts = record.has_value() ? ParseStoredMessage(record->message) : std::nullopt;
    if (!parts.has_value()) return Taken::kUnreadable;
    if (parts->expires_at_unix_ms != 0 && parts->expires_at_unix_ms <= now_unix_ms_) {
      return Taken::kYes;
    }
    if (CameLive(*record, options_)) return Taken::kYes;
    const size_t size = parts->topic.size() + parts->payload.size();
    if (!page_.messages.empty() && (page_.messages.size() >= options_.messages_max ||
                                    page_.bytes + size > options_.bytes_max)) {
      return Taken::kPageFull;
    }
    page_.bytes += size;
    page_.messages.push_back(Retained(*parts));
    return Taken::kYes;
  }

  RetainedScanPage& page() { return page_; }

 private:
  const int64_t now_unix_ms_;
  const RetainedScanOptions& options_;
  RetainedScanPage page_;
};

}  // namespace

std::string EncodeRetained(const RetainedView& retained) {
  const size_t size = wire::BytesSize(retained.message) + wire::NumberSize(retained.order) +
                      wire::NumberSize(retained.partitions) +
                      wire::NumberSize(retained.of_partitions);
  std::string bytes;
  wire::Append(bytes, size, [&](wire::Writer& out) {
    out.Bytes(kMessage, retained.message);
    out.Number(kOrder, retained.order);
    out.Number(kPartitions, retained.partitions);
    out.Number(kOfPartitions, retained.of_partitions);
  });
  return bytes;
}

std::optional<RetainedView> ParseRetained(std::string_view bytes) {
  RetainedView view;
  wire::Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == kMessage) view.message = reader.bytes();
    if (reader.field() == kOrder) view.order = reader.number();
    if (reader.field() == kPartitions) view.partitions = reader.number();
    if (reader.field() == kOfPartitions) {
      view.of_partitions = static_cast<uint32_t>(reader.number());
    }
  }
  if (!reader.ok()) return std::nullopt;
  return view;
}

std::string EncodeRetainedExpiry(const RetainedExpiryView& expiry) {
  std::string bytes;
  wire::Append(bytes, wire::NumberSize(expiry.order) + wire::NumberSize(expiry.bytes),
               [&](wire::Writer& out) {
                 out.Number(kExpiryOrder, expiry.order);
                 out.Number(kExpiryBytes, expiry.bytes);
               });
  return bytes;
}

std::optional<RetainedExpiryView> ParseRetainedExpiry(std::string_view bytes) {
  RetainedExpiryView view;
  wire::Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == kExpiryOrder) view.order = reader.number();
    if (reader.field() == kExpiryBytes) view.bytes = reader.number();
  }
  if (!reader.ok()) return std::nullopt;
  return view;
}

absl::StatusOr<RetainedScanPage> ScanRetainedMessages(const StateReader& reader,
                                                      PartitionId partition,
                                                      std::string_view filter,
                                                      std::string_view cursor, int64_t now_unix_ms,
                                                      const RetainedScanOptions& options) {
  const KeyRange range = RangeOf(partition, KeyKind::kRetained);
  const FilterWalk walk(filter);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  Scan scan(now_unix_ms, options);
  std::string at = cursor.empty() ? walk.First() : std::string(cursor);
  it->Seek(range.begin + at);
  size_t& seeks = scan.page().seeks;
  while (it->Valid()) {
    const std::string_view topic = it->key().substr(range.begin.size());
    if (++seeks > options.seeks_max) {
      scan.page().cursor = std::string(topic);
      return std::move(scan.page());
    }
    const Step step = walk.Judge(topic);
    if (step.kind == Step::Kind::kEnd) break;
    if (step.kind == Step::Kind::kSeek) {
      it->Seek(range.begin + step.target);
      continue;
    }
    switch (scan.Take(it->value())) {
      case Scan::Taken::kYes:
        it->Next();
        break;
      case Scan::Taken::kPageFull:
        scan.page().cursor = std::string(topic);
        return std::move(scan.page());
      case Scan::Taken::kUnreadable:
        return Unreadable(it->key());
    }
  }
  if (!it->status().ok()) return it->status();
  return std::move(scan.page());
}

absl::StatusOr<mqtt::MessagePtr> ReadRetained(const StateReader& reader, PartitionId partition,
                                              std::string_view topic) {
  const std::string key = RetainedKey(partition, topic);
  std::string value;
  const absl::StatusOr<bool> found = reader.Get(key, value);
  if (!found.ok()) return found.status();
  if (!*found) return mqtt::MessagePtr();
  const std::optional<RetainedView> record = ParseRetained(value);
  const auto parts = record.has_value() ? ParseStoredMessage(record->message) : std::nullopt;
  if (!parts.has_value()) return Unreadable(key);
  return Retained(*parts);
}

absl::StatusOr<ExpiredRetainedPage> FindExpiredRetained(const StateReader& reader,
                                                        PartitionId partition,
                                                        std::string_view after, int64_t now_unix_ms,
                                                        size_t messages_max) {
  const KeyRange range = RangeOf(partition, KeyKind::kRetainedExpiry);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  ExpiredRetainedPage page;
  page.through = after;
  it->Seek(after.empty() ? std::string_view(range.begin) : after);
  if (it->Valid() && !after.empty() && it->key() == after) it->Next();
  for (; it->Valid(); it->Next()) {
    const auto key = ParseRetainedExpiryKey(it->key());
    const auto expiry = ParseRetainedExpiry(it->value());
    if (!key.has_value() || !expiry.has_value()) {
      return absl::DataLossError("unreadable expiry of a retained message");
    }
    if (key->expires_at_unix_ms > now_unix_ms || page.messages.size() >= messages_max) {
      page.next_unix_ms = key->expires_at_unix_ms;
      break;
    }
    page.messages.push_back(
        {std::string(key->topic), expiry->order, expiry->bytes, key->expires_at_unix_ms});
    page.through = std::string(it->key());
  }
  if (!it->status().ok()) return it->status();
  return page;
}

}  // namespace storage
