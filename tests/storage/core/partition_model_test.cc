// Random entries, applied to a partition, to a plain model of one, and to a second replica that
// crashes and flushes at other times: the partition does what the model says, and the replicas are
// the same, to the byte but for where their chunks begin.
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/chunk.h"
#include "storage/core/keys.h"
#include "storage/core/memory_store.h"
#include "storage/core/partition.h"
#include "storage/core/retained.h"
#include "tests/storage/core/generator.h"
#include "tests/storage/core/model.h"

namespace storage {
namespace {

constexpr PartitionId kPartition = 5;

// One replica. What it has written may not be flushed yet; a crash loses that, and the log brings
// it again.
class Replica {
 public:
  Replica() : partition_(std::make_unique<Partition>(kPartition)) {
    EXPECT_TRUE(partition_->Load(written_).ok());
  }

  void Apply(const pb::Entry& entry, uint64_t index, Effects& effects) {
    MemoryBatch batch;
    const absl::Status status =
        partition_->ApplyEntry(entry.SerializeAsString(), {}, index, 1, written_, batch, effects);
    ASSERT_TRUE(status.ok()) << status;
    written_.Write(batch);
  }
  // Into the store's memory.
  void Flush() {
    MemoryBatch batch;
    partition_->Flush(batch);
    written_.Write(batch);
  }
  // Of the store's memory.
  void WriteOut() { flushed_ = written_; }
  void CrashAndReplay(const std::vector<pb::Entry>& log) {
    written_ = flushed_;
    partition_ = std::make_unique<Partition>(kPartition);
    const absl::Status status = partition_->Load(written_);
    ASSERT_TRUE(status.ok()) << status;
    Effects effects;
    for (uint64_t index = partition_->applied_index() + 1; index <= log.size(); ++index) {
      Apply(log[index - 1], index, effects);
    }
  }

  Partition& partition() { return *partition_; }
  const MemoryStore& store() const { return written_; }

 private:
  MemoryStore written_;
  MemoryStore flushed_;
  std::unique_ptr<Partition> partition_;
};

void ExpectSameQueue(Replica& replica, const Session& real, const ModelSession& model,
                     int64_t now) {
  ASSERT_EQ(real.queue.messages(), model.queue.size());
  ASSERT_EQ(real.queue.bytes(), model.bytes());
  ASSERT_EQ(real.queue.tail(), model.tail);
  ASSERT_EQ(real.queue.sent_through(), model.sent_through);
  auto page =
      replica.partition().ReadQueue(replica.store(), real.slot, 1, {.messages_max = 1000}, now);
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_TRUE(page->end);
  size_t at = 0;
  std::vector<uint64_t> expired;
  for (const ModelEntry& entry : model.queue) {
    const bool sent = entry.sequence <= model.sent_through;
    if (!entry.released && !sent && entry.expires != 0 && entry.expires <= now) {
      expired.push_back(entry.sequence);
      continue;
    }
    ASSERT_LT(at, page->entries.size());
    const Delivery& delivery = page->entries[at++];
    ASSERT_EQ(delivery.sequence, entry.sequence);
    ASSERT_EQ(delivery.release, entry.released);
    if (entry.released) continue;
    ASSERT_EQ(delivery.message->payload(), entry.payload);
    ASSERT_EQ(delivery.qos, entry.qos);
    ASSERT_EQ(delivery.retain, entry.retain);
    ASSERT_EQ(delivery.dup, sent);
    ASSERT_EQ(
        std::vector<uint32_t>(delivery.subscription_ids.begin(), delivery.subscription_ids.end()),
        entry.ids);
  }
  ASSERT_EQ(at, page->entries.size());
  ASSERT_EQ(page->expired, expired);
}

void ExpectSameSession(const Session& real, const ModelSession& model) {
  ASSERT_EQ(real.epoch, model.epoch);
  ASSERT_EQ(real.connected, model.connected);
  ASSERT_EQ(real.expiry_s, model.expiry_s);
  ASSERT_EQ(real.ends_at_unix_ms, model.ends_at);
  ASSERT_EQ(static_cast<bool>(real.will.message), model.will.has_value());
  if (model.will.has_value()) {
    ASSERT_EQ(real.will.message->payload(), *model.will);
    if (!model.connected) {
      ASSERT_EQ(real.will.due_at_unix_ms, model.will_due);
    }
  }
  ASSERT_EQ(real.subscriptions.size(), model.subscriptions.size());
  for (const auto& [filter, subscription] : model.subscriptions) {
    const SessionSubscription* const found = real.FindSubscription(filter);
    ASSERT_NE(found, nullptr) << filter;
    ASSERT_EQ(found->record.options, subscription.options);
    ASSERT_EQ(found->record.subscription_id, subscription.id);
  }
  ASSERT_EQ(std::set<uint16_t>(real.queue.inbound().begin(), real.queue.inbound().end()),
            model.inbound);
  ASSERT_EQ(real.replays.size(), model.replays.size());
  real.replays.ForEach([&](const RetainedReplay& replay) {
    ASSERT_EQ(model.replays.at(replay.number),
              std::pair(std::string(replay.filter), replay.since_order));
  });
}

void ExpectSame(Replica& replica, const Model& model, int64_t now) {
  ASSERT_EQ(replica.partition().session_count(), model.sessions.size());
  std::set<std::string> filters;
  for (const auto& [client, session] : model.sessions) {
    SCOPED_TRACE(client);
    const Session* const real = replica.partition().Find(client);
    ASSERT_NE(real, nullptr);
    ASSERT_NO_FATAL_FAILURE(ExpectSameSession(*real, session));
    ASSERT_NO_FATAL_FAILURE(ExpectSameQueue(replica, *real, session, now));
    for (const auto& [filter, unused] : session.subscriptions) {
      if (!mqtt::IsShared(filter)) filters.insert(filter);
    }
  }
  std::set<std::string> real_filters;
  replica.partition().ForEachFilter([&](std::string_view f) { real_filters.emplace(f); });
  ASSERT_EQ(real_filters, filters);

  const auto records = replica.partition().outbox().Read(replica.store(), kPartition, 0, 1'000'000);
  ASSERT_TRUE(records.ok());
  ASSERT_EQ(records->size(), model.outbox.size());
  ASSERT_EQ(replica.partition().outbox().messages(), model.outbox.size());
  size_t at = 0;
  for (const auto& [number, record] : model.outbox) {
    const OutboxRecord& real = (*records)[at++];
    ASSERT_EQ(real.number, number);
    ASSERT_EQ(real.share_filter, record.filter);
    ASSERT_EQ(real.message->payload(), record.payload);
    std::map<std::string, std::string> targets;
    for (const SharedTarget& target : real.targets) {
      targets.emplace(target.filter, target.client_id);
    }
    ASSERT_EQ(targets, record.targets);
  }
  uint64_t bytes = 0;
  for (const auto& [topic, value] : model.retained) {
    const auto message = ReadRetained(replica.store(), kPartition, topic);
    ASSERT_TRUE(message.ok() && *message) << topic;
    ASSERT_EQ((*message)->payload(), value.first);
    bytes += value.second;
  }
  ASSERT_EQ(replica.partition().retained_messages(), model.retained.size());
  ASSERT_EQ(replica.partition().retained_bytes(), bytes);
}

bool IsChunk(std::string_view key) { return key[2] == static_cast<char>(KeyKind::kQueue); }

// Every chunk belongs to a session that still needs it, and every shared body to as many entries as
// its count says.
void ExpectNoLeftovers(Replica& replica) {
  std::map<uint64_t, uint64_t> wanted, counted;
  std::set<uint64_t> bodies;
  for (const auto& [key, value] : replica.store().map()) {
    if (key[2] == static_cast<char>(KeyKind::kBody)) bodies.insert(*SequenceOf(key));
    if (key[2] == static_cast<char>(KeyKind::kBodyCount)) {
      pb::BodyCount record;
      ASSERT_TRUE(record.ParseFromString(value));
      counted[*SequenceOf(key)] = record.count();
      ASSERT_TRUE(bodies.contains(*SequenceOf(key)));  // 'B' < 'N'.
    }
    if (!IsChunk(key)) continue;
    const Session* const session =
        replica.partition().Find(ClientIdOf(key).value_or(std::string_view()));
    ASSERT_NE(session, nullptr) << absl::CHexEscape(key);
    ASSERT_GE(SequenceOf(key).value_or(0), session->queue.head()) << absl::CHexEscape(key);
    const std::optional<ChunkView> chunk = ParseChunk(value);
    ASSERT_TRUE(chunk.has_value());
    for (size_t i = 0; i < chunk->entries.size(); ++i) {
      const uint64_t body = FactsOfEntry(chunk->entries[i]).body;
      if (body != 0 && session->queue.IsOpen(chunk->first + i)) ++wanted[body];
    }
  }
  ASSERT_EQ(counted, wanted);
  ASSERT_EQ(bodies.size(), wanted.size());
}

// Names the first key that differs: two whole stores would be no help.
void ExpectSameBytes(Replica& first, Replica& second) {
  first.Flush();
  second.Flush();
  ASSERT_NO_FATAL_FAILURE(ExpectNoLeftovers(first));
  ASSERT_NO_FATAL_FAILURE(ExpectNoLeftovers(second));
  const MemoryStore& a = first.store();
  const MemoryStore& b = second.store();
  for (const auto& [key, value] : a.map()) {
    if (IsChunk(key)) continue;
    const auto found = b.map().find(key);
    ASSERT_TRUE(found != b.map().end()) << "only in the first: " << absl::CHexEscape(key);
    ASSERT_EQ(absl::CHexEscape(value), absl::CHexEscape(found->second)) << absl::CHexEscape(key);
  }
  for (const auto& [key, value] : b.map()) {
    if (IsChunk(key)) continue;
    ASSERT_TRUE(a.map().contains(key)) << "only in the second: " << absl::CHexEscape(key);
  }
}

void ExpectSameEffects(const Effects& effects, const Model& model) {
  uint64_t dropped = 0;
  for (const uint64_t count : effects.dropped) dropped += count;
  ASSERT_EQ(dropped, model.dropped);
}

void RunSeed(uint64_t seed, int entries) {
  base::Rng rng(seed * 7919);
  Model model;
  Generator generator(seed, model);
  generator.raises = true;
  Replica first, second;
  std::vector<pb::Entry> log;
  Effects effects;
  for (int i = 0; i < entries; ++i) {
    SCOPED_TRACE("entry " + std::to_string(i));
    log.push_back(generator.Next());
    effects.Clear();
    model.dropped = 0;
    ASSERT_NO_FATAL_FAILURE(first.Apply(log.back(), log.size(), effects));
    for (int c = 0; c < log.back().commands_size(); ++c) {
      const OutcomeCode code = model.Apply(log.back().commands(c));
      ASSERT_EQ(effects.outcomes[static_cast<size_t>(c)].code, code)
          << log.back().commands(c).ShortDebugString();
    }
    ASSERT_NO_FATAL_FAILURE(ExpectSameEffects(effects, model));
    if (rng.Chance(0.2)) {
      ASSERT_NO_FATAL_FAILURE(ExpectSame(first, model, generator.now()));
    }

    effects.Clear();
    ASSERT_NO_FATAL_FAILURE(second.Apply(log.back(), log.size(), effects));
    if (rng.Chance(0.05)) first.Flush();
    if (rng.Chance(0.2)) second.Flush();
    if (rng.Chance(0.1)) second.WriteOut();
    if (rng.Chance(0.03)) {
      ASSERT_NO_FATAL_FAILURE(second.CrashAndReplay(log));
      ASSERT_EQ(second.partition().Dump(), first.partition().Dump());
      if (rng.Chance(0.3)) {
        ASSERT_NO_FATAL_FAILURE(ExpectSameBytes(first, second));
      }
    }
  }
  ASSERT_NO_FATAL_FAILURE(ExpectSame(first, model, generator.now()));
  ASSERT_NO_FATAL_FAILURE(second.CrashAndReplay(log));
  ASSERT_NO_FATAL_FAILURE(ExpectSame(second, model, generator.now()));
  ASSERT_NO_FATAL_FAILURE(ExpectSameBytes(first, second));
}

TEST(PartitionModel, DoesWhatTheModelDoesAndReplicasAreEqual) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ASSERT_NO_FATAL_FAILURE(RunSeed(seed, 700));
  }
}

}  // namespace
}  // namespace storage
