// What waits in a queue longer than its Message Expiry Interval: it counts for no bound, and is
// dropped when it is found [MQTT5-3.3.2-5].
#include <algorithm>
#include <utility>

#include "storage/core/message_codec.h"
#include "storage/core/partition_impl.h"

namespace storage {
void Partition::Impl::NoteExpiry(Session& session, int64_t expires_at_unix_ms, Context& ctx) {
  if (expires_at_unix_ms >= session.queue.next_expiry_ms()) return;
  session.queue.SetNextExpiry(expires_at_unix_ms);
  ctx.effects.list.push_back(QueueExpires{session.client_id, expires_at_unix_ms});
}

absl::StatusOr<ExpiredPage> Partition::Impl::FindExpired(const StateReader& reader,
                                                         Session& session, uint64_t from,
                                                         size_t messages_max, int64_t now_unix_ms) {
  const SessionQueue& queue = session.queue;
  ExpiredPage page;
  page.next = queue.NextOpen(std::max(from, queue.sent_through() + 1));
  const auto add = [&](std::string_view raw) -> absl::StatusOr<bool> {
    if (page.read == messages_max) return false;
    const std::optional<ChunkEntry> entry = ParseChunkEntry(raw);
    if (!entry.has_value()) return absl::DataLossError("unreadable queue");
    mqtt::MessagePtr shared;
    const auto parts = PartsOf(*entry, reader, shared);
    if (!parts.ok()) return parts.status();
    const int64_t expires = parts->has_value() ? (*parts)->expires_at_unix_ms : 0;
    if (expires != 0 && expires <= now_unix_ms && !queue.IsReleased(page.next)) {
      page.sequences.push_back(page.next);
    } else if (expires != 0) {
      page.next_unix_ms = std::min(page.next_unix_ms, expires);
    }
    ++page.read;
    page.next = queue.NextOpen(page.next + 1);
    return true;
  };
  const absl::StatusOr<bool> end = ReadEntries(reader, session, page.next, add);
  if (!end.ok()) return end.status();
  page.end = *end;
  return page;
}

// For a message that finds the queue full. Whether there is more room.
bool Partition::Impl::DropExpired(Session& session, Context& ctx) {
  if (session.queue.next_expiry_ms() > ctx.now_unix_ms) return false;
  const auto page = FindExpired(ctx.reader, session, MaybeSentThrough(session) + 1,
                                rules().expired_looked_at_max, ctx.now_unix_ms);
  if (!page.ok()) {
    ctx.status = page.status();
    return false;
  }
  for (const uint64_t sequence : page->sequences) {
    if (!Finish(session, sequence, ctx)) return false;
    ++ctx.effects.dropped[static_cast<size_t>(DropCause::kExpired)];
  }
  return !page->sequences.empty();
}

}  // namespace storage
