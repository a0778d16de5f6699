#include "storage/core/session_records.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "mqtt/topic.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"

namespace storage {
namespace {

namespace pb = ::mqttd::storage::v1;

template <typename Record>
bool Parse(std::string_view bytes, Record& record) {
  return record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

absl::Status Unreadable(std::string_view what, std::string_view client_id) {
  return absl::DataLossError(absl::StrCat("unreadable ", base::AbslView(what), " of session '",
                                          base::AbslView(client_id), "'"));
}

// Calls `visit(key, value)` for every key of the kind until it fails.
template <typename Visit>
absl::Status ForEachKey(const StateReader& reader, PartitionId partition, KeyKind kind,
                        const Visit& visit) {
  const KeyRange range = RangeOf(partition, kind);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  for (it->Seek(range.begin); it->Valid(); it->Next()) {
    if (absl::Status status = visit(it->key(), it->value()); !status.ok()) return status;
  }
  return it->status();
}

absl::Status Fill(const pb::Session& record, Session& session) {
  session.user_name = record.user_name();
  session.listener = record.listener();
  session.version = static_cast<mqtt::Version>(record.version());
  session.epoch = record.epoch();
  session.expiry_s = record.expiry_s();
  session.window_messages = record.window_messages();
  session.connected = record.connected();
  session.resumed = record.resumed();
  session.owner = ReadOwner(record.owner());
  session.created_at_unix_ms = record.created_at_unix_ms();
  session.disconnected_at_unix_ms = record.disconnected_at_unix_ms();
  session.ends_at_unix_ms = record.ends_at_unix_ms();
  session.last_replay = record.last_replay();
  session.had_shared = record.had_shared();
  session.had_bodies = record.had_bodies();
  if (record.has_will()) {
    session.will.message = DecodeStoredMessage(record.will().message());
    session.will.delay_s = record.will().delay_s();
    session.will.due_at_unix_ms = record.will().due_at_unix_ms();
    if (!session.will.message) return Unreadable("will", session.client_id);
  }
  return absl::OkStatus();
}

class Loader {
 public:
  Loader(const StateReader& reader, PartitionId partition, SessionTable& sessions,
         SubscriptionIndex& index, uint64_t& subscriptions_bytes)
      : reader_(reader),
        partition_(partition),
        sessions_(sessions),
        index_(index),
        subscriptions_bytes_(subscriptions_bytes) {}

  absl::Status Load() {
    if (absl::Status status = LoadSessions(); !status.ok()) return status;
    if (absl::Status status = LoadCursors(); !status.ok()) return status;
    if (absl::Status status = LoadSubscriptions(); !status.ok()) return status;
    return LoadReplays();
  }

 private:
  absl::Status LoadSessions();
  absl::Status LoadCursors();
  absl::Status LoadSubscriptions();
  absl::Status LoadReplays();

  const StateReader& reader_;
  const PartitionId partition_;
  SessionTable& sessions_;
  SubscriptionIndex& index_;
  uint64_t& subscriptions_bytes_;
  std::vector<std::pair<Session*, pb::Replay>> replays_of_records_;  // Of an earlier release.
};

absl::Status Loader::LoadSessions() {
  return ForEachKey(reader_, partition_, KeyKind::kSession,
                    [&](std::string_view key, std::string_view value) -> absl::Status {
                      pb::Session record;
                      const std::optional<std::string_view> client_id = ClientIdOf(key);
                      if (!client_id.has_value()) return absl::DataLossError("a bad session key");
                      if (!Parse(value, record)) return Unreadable("record", *client_id);
                      Session& session = sessions_.Add(std::string(*client_id));
                      for (pb::Replay& replay : *record.mutable_replays()) {
                        replays_of_records_.emplace_back(&session, std::move(replay));
                      }
                      return Fill(record, session);
                    });
}

absl::Status Loader::LoadCursors() {
  return ForEachKey(reader_, partition_, KeyKind::kCursor,
                    [&](std::string_view key, std::string_view value) -> absl::Status {
                      Session* const session = sessions_.Find(ClientIdOf(key).value_or(""));
                      if (session == nullptr) {
                        return absl::DataLossError("a cursor without a session");
                      }
                      return session->queue.DecodeCursor(value);
                    });
}

absl::Status Loader::LoadSubscriptions() {
  return ForEachKey(reader_, partition_, KeyKind::kSubscription,
                    [&](std::string_view key, std::string_view value) -> absl::Status {
                      Session* const session = sessions_.Find(ClientIdOf(key).value_or(""));
                      if (session == nullptr) {
                        return absl::DataLossError("a subscription without a session");
                      }
                      pb::Subscription record;
                      if (!Parse(value, record))
                        return Unreadable("subscription", session->client_id);
                      auto subscription = std::make_unique<SessionSubscription>();
                      subscription->session = session;
                      subscription->record = {std::string(FilterOf(key).value_or("")),
                                              mqtt::SubscriptionOptions::FromByte(
                                                  static_cast<uint8_t>(record.options())),
                                              record.subscription_id()};
                      if (!mqtt::IsShared(subscription->record.filter)) index_.Add(*subscription);
                      const std::string_view filter = subscription->record.filter;
                      subscriptions_bytes_ += SubscriptionBytes(filter);
                      session->subscriptions.emplace(filter, std::move(subscription));
                      return absl::OkStatus();
                    });
}

// None without its subscription: with that it ends.
absl::Status Loader::LoadReplays() {
  const auto parsed = [](const Session& session, const pb::Replay& record) {
    const SessionSubscription* const subscription = session.FindSubscription(record.filter());
    std::string_view filter;
    if (subscription != nullptr) filter = subscription->record.filter;
    return RetainedReplay{record.number(), filter, record.since_order(), record.cursor()};
  };
  // Where an earlier release wrote them; with the next flush they get records of their own.
  for (const auto& [session, record] : std::exchange(replays_of_records_, {})) {
    RetainedReplay replay = parsed(*session, record);
    if (replay.filter.empty()) continue;
    session->replays.Add(std::move(replay));
    sessions_.Touch(*session, &Session::Changes::replays);
    sessions_.Touch(*session, &Session::Changes::record);
  }
  return ForEachKey(reader_, partition_, KeyKind::kReplay,
                    [&](std::string_view key, std::string_view value) -> absl::Status {
                      Session* const session = sessions_.Find(ClientIdOf(key).value_or(""));
                      if (session == nullptr) {
                        return absl::DataLossError("a replay without a session");
                      }
                      pb::Replay record;
                      if (!Parse(value, record)) return Unreadable("replay", session->client_id);
                      RetainedReplay replay = parsed(*session, record);
                      if (replay.filter.empty()) return Unreadable("replay", session->client_id);
                      session->replays.AddStored(std::move(replay));
                      return absl::OkStatus();
                    });
}

}  // namespace

absl::Status LoadSessions(const StateReader& reader, PartitionId partition, SessionTable& sessions,
                          SubscriptionIndex& index, uint64_t& subscriptions_bytes) {
  return Loader(reader, partition, sessions, index, subscriptions_bytes).Load();
}

void WriteSession(PartitionId partition, const Session& session, StateBatch& batch) {
  pb::Session record;
  record.set_client_id(session.client_id);
  record.set_epoch(session.epoch);
  record.set_user_name(session.user_name);
  record.set_listener(session.listener);
  record.set_version(static_cast<uint32_t>(session.version));
  record.set_expiry_s(session.expiry_s);
  record.set_connected(session.connected);
  record.set_resumed(session.resumed);
  if (session.connected && session.owner != ConnectionRef{})
    WriteOwner(session.owner, *record.mutable_owner());
  record.set_disconnected_at_unix_ms(session.disconnected_at_unix_ms);
  record.set_ends_at_unix_ms(session.ends_at_unix_ms);
  record.set_window_messages(session.window_messages);
  record.set_created_at_unix_ms(session.created_at_unix_ms);
  record.set_last_replay(session.last_replay);
  record.set_had_shared(session.had_shared);
  record.set_had_bodies(session.had_bodies);
  if (session.will.message) {
    record.mutable_will()->set_message(EncodeStoredMessage(*session.will.message));
    record.mutable_will()->set_delay_s(session.will.delay_s);
    record.mutable_will()->set_due_at_unix_ms(session.will.due_at_unix_ms);
  }
  batch.Put(SessionKey(partition, session.client_id), record.SerializeAsString());
}

void WriteReplays(PartitionId partition, Session& session, StateBatch& batch) {
  std::vector<uint64_t> changed = session.replays.TakeChanged();
  std::sort(changed.begin(), changed.end());
  changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
  pb::Replay record;
  for (const uint64_t number : changed) {
    const std::string key = ReplayKey(partition, session.client_id, number);
    const RetainedReplay* const replay = session.replays.Find(number);
    if (replay == nullptr) {
      batch.Delete(key);
      continue;
    }
    record.set_number(number);
    record.set_filter(std::string(replay->filter));
    record.set_since_order(replay->since_order);
    record.set_cursor(replay->cursor);
    batch.Put(key, record.SerializeAsString());
  }
}

}  // namespace storage
