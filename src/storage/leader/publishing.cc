#include "storage/leader/publishing.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>

#include "base/by_name.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/command_codec.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/publish_parts.h"
#include "storage/core/retained.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"

namespace storage {
namespace {

// Of a Subscription Identifier that stands beside a message in a queue (§3.8.2.1.2: 28 bits).
constexpr uint64_t kIdentifierBytesMax = 4;

SharedTarget TargetOf(const ShareMembers::Member& member) {
  return {.client_id = member.client_id,
          .filter = member.subscription.filter,
          .options = member.subscription.options,
          .subscription_id = member.subscription.subscription_id};
}

}  // namespace

// ---- Asked --------------------------------------------------------------------------------------

void Publishing::Handle(const Asker& from, Publish& part) {
  CHECK(part.partition < node_.leaders.size()) << "there is no such partition";
  if (!AnswerRepeat(from, part)) {
    parts_.emplace_back(std::move(part), from);
    Decide(parts_);
    node_.leaders[parts_.front().partition]->streams().Took(from);
    parts_.clear();
  } else {
    node_.leaders[part.partition]->streams().Took(from);
  }
}

// It is there already, or on its way.
bool Publishing::AnswerRepeat(const Asker& from, const Publish& part) {
  Leader& leader = *node_.leaders[part.partition];
  if (from.outbox && leader.published().IsArriving(from, part.token)) return true;
  if (!leader.IsRepeat(from)) return false;
  node_.Send(from.shard, Published{.token = part.token, .status = {}, .partition = part.partition});
  return true;
}

// One part.
void Publishing::Decide(Parts& parts) {
  Part& part = parts.front();
  if (part.outbox) return DecidePassedOn(parts);
  const ShardAddress from = part.asker.shard;
  absl::Status status = Refusal(part);
  if (status.ok()) status = VerdictOn(from, part);
  if (status.ok() && !SettleTargets(from, parts)) {
    status = absl::ResourceExhaustedError("no member has room");
  }
  if (!status.ok()) {
    verdict_.status = status;  // Of those that follow, too.
    return Refuse(part, status);
  }
  if (!verdict_.held.empty()) {
    const auto rest = std::stable_partition(
        verdict_.held.begin(), verdict_.held.end(),
        [&](const HeldRoom& room) { return room.partition != part.partition; });
    reserved_.insert(reserved_.end(), rest, verdict_.held.end());
    verdict_.held.erase(rest, verdict_.held.end());
  }
  ProposeDecided(parts);
}

// It was accepted, so it is not dropped: with queue_full: refuse it stays in its outbox while a
// queue that it is for has no room. Its publisher's leader may hold some for it, as far as it knew:
// that is looked for anew, with who has subscribed since.
void Publishing::DecidePassedOn(Parts& parts) {
  Part& part = parts.front();
  OutboxSender& outbox = node_.leaders[part.outbox.partition]->outbox();
  HeldRooms held = outbox.TakeHeld(part.outbox.number, part.partition);
  node_.Release(held);
  absl::Status status = Refusal(part);
  if (status.ok()) {
    status = ReserveQueueRoom(*part.message, part.partitions & BitOf(part.partition),
                              ComesFrom::kOutbox);
  }
  if (status.ok() && !SettleTargets(part.asker.shard, parts)) {
    status = absl::ResourceExhaustedError("no member has room");
  }
  if (status.ok()) status = CheckStillRetained(part);
  if (status.ok()) return ProposeDecided(parts);
  Refuse(part, status);
  std::erase_if(held, [this](const HeldRoom& room) {
    return node_.leaders[room.partition]->life() != room.life;
  });
  for (const HeldRoom& room : held) node_.leaders[room.partition]->room().Promise(room.reservation);
  outbox.Hold(part.outbox.number, std::move(held));
}

void Publishing::ProposeDecided(const Parts& parts) {
  const Part& part = parts.front();
  // A retained message of QoS 0 was promised to nobody: it is on the disk with whatever is synced
  // next. Its answer only tells the shard that it is not on its way any more.
  const bool promised = part.message->qos() != mqtt::QoS::kAtMostOnce || part.outbox;
  const size_t before = node_.growing.commands;
  Propose(parts, promised || part.token != 0);
  if (promised && node_.growing.commands != before) node_.growing.needs_sync = true;
}

// Because of storage that fails, here or in the partition. What comes out of an outbox takes no
// more of the disk where it goes.
absl::Status Publishing::Refusal(const Publish& part) const {
  RETURN_IF_ERROR(node_.Refusal(/*stores=*/!part.outbox));
  RETURN_IF_ERROR(CheckPartitions(BitOf(part.partition)));
  if (part.outbox_after == 0) return absl::OkStatus();
  if (node_.leaders[part.partition]->published().HasWhatIsBefore(part)) return absl::OkStatus();
  return absl::UnavailableError("one before it has to come first");
}

absl::Status Publishing::CheckPartitions(PartitionMask partitions) const {
  for (const auto& leader : node_.leaders) {
    if ((partitions >> leader->id() & 1) == 0 || leader->replica().status().ok()) continue;
    // Whoever leads it says so.
    if (node_.shards.in_cluster() && !leader->serving()) continue;
    return leader->Refusal(/*stores=*/false);
  }
  return absl::OkStatus();
}

// The same for all parts of a message, as long as they follow each other.
absl::Status Publishing::VerdictOn(const ShardAddress& from, const Publish& part) {
  if (IsDecided(from, part)) return verdict_.status;
  node_.Release(verdict_.held);
  verdict_.held.clear();
  verdict_.shard = from;
  verdict_.token = part.token;
  verdict_.status = CheckAll(part);
  verdict_.held = std::exchange(reserved_, {});
  return verdict_.status;
}

absl::Status Publishing::CheckAll(const Publish& part) {
  const mqtt::Message& message = *part.message;
  PartitionMask partitions = part.partitions;
  const bool retains = part.set_retained || (part.partitions != 0 && message.retain());
  if (retains) partitions |= BitOf(node_.HomeOf(message.topic()).id());
  RETURN_IF_ERROR(CheckPartitions(partitions));
  if (retains) RETURN_IF_ERROR(CheckRetainedRoom(message));
  return ReserveQueueRoom(message, part.partitions, ComesFrom::kPublisher);
}

absl::Status Publishing::CheckAccepted(const ShardAddress& from, AcceptInbound& request,
                                       HeldRooms& held) {
  Publish whole;
  whole.message = request.message;
  whole.partitions = request.partitions;
  whole.set_retained = request.message->retain();
  const auto is_transient = [](const SharedTarget& target) { return target.transient; };
  const auto durable =
      std::stable_partition(request.targets.begin(), request.targets.end(), is_transient);
  whole.shared_targets.assign(durable, request.targets.end());
  request.targets.erase(durable, request.targets.end());
  if (whole.partitions == 0 && !whole.set_retained && whole.shared_targets.empty()) {
    return absl::OkStatus();
  }
  Parts parts;
  PartitionMask places = 0;
  CutIntoParts(std::move(whole), node_.options.partitions, [&](Publish part) {
    places |= BitOf(part.partition);
    parts.emplace_back(std::move(part), Asker{.shard = from});
  });
  absl::Status status = CheckPartitions(places);
  if (status.ok() && request.message->retain()) status = CheckRetainedRoom(*request.message);
  if (status.ok()) {
    status = ReserveQueueRoom(*request.message, request.partitions, ComesFrom::kPublisher);
  }
  if (status.ok() && !SettleTargets(from, parts)) {
    status = absl::ResourceExhaustedError("no member has room");
  }
  if (!status.ok()) {
    TakeBackReserved();
    return status;
  }
  for (Part& part : parts) {
    std::move(part.shared_targets.begin(), part.shared_targets.end(),
              std::back_inserter(request.targets));
  }
  held = std::exchange(reserved_, {});
  return status;
}

// Nothing of it was proposed. While storage fails the answer does not wait for what is in doubt;
// else it comes in its turn.
void Publishing::Refuse(const Part& part, const absl::Status& why) {
  TakeBackReserved();
  if (part.token == 0) return;
  Published refused;
  refused.token = part.token;
  refused.partition = part.partition;
  refused.status = why;
  const ShardAddress from = part.asker.shard;
  const bool waits = node_.healthy() && node_.leaders[part.partition]->replica().status().ok();
  if (!waits) return node_.Send(from, std::move(refused));
  node_.After(BitOf(part.partition), [this, from, refused] { node_.Send(from, refused); });
}

// ---- Proposed -----------------------------------------------------------------------------------

void Publishing::Propose(const Parts& parts, bool answers) {
  for (const Part& part : parts) ProposePart(part, answers);
  for (const HeldRoom& room : std::exchange(reserved_, {})) {
    Leader& leader = *node_.leaders[room.partition];
    if (leader.life() != room.life) continue;
    if (leader.proposals().growing() == nullptr) {  // It is for nobody there.
      leader.room().TakeBack(room.reservation);
    } else {
      leader.proposals().Keep(room.reservation);
    }
  }
}

// There was room when it was acknowledged; others have taken it meanwhile. It goes to subscribers
// all the same. Not OK: it is not known, and is asked again.
absl::Status Publishing::CheckStillRetained(Part& part) {
  if (!part.set_retained) return absl::OkStatus();
  const absl::Status status = CheckRetainedRoom(*part.message);
  if (!absl::IsResourceExhausted(status)) return status;
  part.set_retained = false;
  node_.metrics.dropped_retained_full.Add();
  base::LogLimited(base::LogLevel::kWarning, "message not retained",
                   "retained_messages_max or retained_bytes_max is reached",
                   {{"publisher", base::Shortened(base::AbslView(part.message->publisher()))},
                    {"topic", base::Shortened(base::AbslView(part.message->topic()))}});
  return absl::OkStatus();
}

void Publishing::ProposePart(const Part& part, bool answers) {
  Leader& leader = *node_.leaders[part.partition];
  AnswerPublish answer;
  answer.shard = part.asker.shard;
  answer.token = part.token;
  answer.command = leader.proposals().growing_commands();
  const bool match = (part.partitions & BitOf(part.partition)) != 0;
  if (match || !part.shared_targets.empty()) ProposeEnqueue(part, leader, match);
  if (part.set_retained) answer.retained = ProposeRetained(part, leader);
  answer.commands = leader.proposals().growing_commands() - answer.command;
  if (answer.commands != 0) {
    if (part.outbox) leader.published().Arrives(part.outbox);
    answer.outbox = part.outbox;
    if (answers) leader.proposals().Then(std::move(answer));
  } else if (answers) {  // It is for nobody here.
    if (part.outbox) leader.published().NothingOf(part.outbox);
    node_.Send(answer.shard,
               Published{.token = part.token, .status = {}, .partition = part.partition});
  }
}

void Publishing::ProposeEnqueue(const Part& part, Leader& leader, bool match) {
  absl::InlinedVector<EnqueueTarget, 1> targets;
  for (const SharedTarget& target : part.shared_targets) {
    targets.push_back({.client_id = target.client_id,
                       .filter = target.filter,
                       .options = target.options,
                       .subscription_id = target.subscription_id,
                       .last_choice = target.last_choice});
  }
  CommandStamp stamp;
  std::string& entry = leader.proposals().ProposeTo(part.message, stamp, &part.asker);
  AppendEnqueue(stamp, part.message->parts(), match, targets, entry);
}

CommandPlace Publishing::ProposeRetained(const Part& part, Leader& home) {
  CommandPlace place = 0;
  pb::SetRetained& set =
      *home.proposals().Propose(part.message, &place, &part.asker).mutable_set_retained();
  set.set_message(EncodeStoredMessage(*part.message));
  set.set_partitions(part.partitions);
  set.set_of_partitions(node_.options.partitions);
  home.expiry().SetRetained({set.message().size(), part.partitions, part.message});
  return place;
}

// ---- Answered, when it is applied or can never be -----------------------------------------------

void PublishedParts::Finish(AnswerPublish& step) {
  const bool refused =
      step.retained.has_value() && OutcomeAt(*step.retained).code == OutcomeCode::kLimit;
  Answer(step, refused ? absl::ResourceExhaustedError(
                             "retained_messages_max or retained_bytes_max is reached")
                       : absl::OkStatus());
}

void PublishedParts::Refuse(AnswerPublish& step, const absl::Status& why) { Answer(step, why); }

void PublishedParts::Answer(const AnswerPublish& step, absl::Status status) {
  if (step.outbox) arriving_.erase({step.outbox.partition, step.outbox.number});
  if (step.token == 0) return;
  node_.Send(step.shard,
             Published{.token = step.token, .status = std::move(status), .partition = id_});
}

// ---- Records of outboxes ------------------------------------------------------------------------

bool PublishedParts::IsArriving(const Asker& from, Token token) {
  if (!arriving_.contains({from.outbox.partition, from.outbox.number})) return false;
  AnswerPublish answer;
  answer.shard = from.shard;
  answer.token = token;
  leader_.After(std::move(answer));
  return true;
}

void PublishedParts::NothingOf(const OutboxRef& record) {
  RangeSet& nothing = nothing_of_[record.partition];
  nothing.EraseBelow(record.kept_from);
  nothing.insert(record.number);
}

bool PublishedParts::HasWhatIsBefore(const Publish& part) const {
  const PartitionId outbox = part.outbox.partition;
  const uint64_t before = part.outbox_after;
  if (before < part.outbox.kept_from || arriving_.contains({outbox, before})) return true;
  const auto nothing = nothing_of_.find(outbox);
  if (nothing != nothing_of_.end() && nothing->second.contains(before)) return true;
  return partition().origins().IsApplied(Origins::OfOutbox(outbox), before);
}

// ---- The host's own -----------------------------------------------------------------------------

void Publishing::Remove(mqtt::MessagePtr message) {
  Publish remove;
  remove.message = std::move(message);
  remove.set_retained = true;
  node_.growing.needs_sync = true;
  Parts parts;
  CutIntoParts(std::move(remove), node_.options.partitions,
               [&](Publish part) { parts.emplace_back(std::move(part), Asker{}); });
  Propose(parts, /*answers=*/false);
}

// ---- Room for retained messages -----------------------------------------------------------------

// The bounds are the node's, and one message is in one partition: a share of the bound for each
// would refuse what fits. A message over the limit is refused as a whole: with what is on its way
// counted, the partition, which checks its own, has room for all that passes here.
absl::Status Publishing::CheckRetainedRoom(const mqtt::Message& message) {
  if (message.payload().empty()) return absl::OkStatus();
  const uint64_t stored_bytes = StoredMessageSize(message.parts());
  bool count_is_full = false;
  bool bytes_are_full = false;
  // What has expired is dropped before this one is set. Where another node leads, that one does it.
  const auto sweep_any = [this] {
    return std::any_of(node_.leaders.begin(), node_.leaders.end(), [](const auto& leader) {
      return leader->serving() && leader->replica().status().ok() &&
             leader->expiry().SweepRetained();
    });
  };
  do {
    RetainedPending::Room taken;
    for (const auto& leader : node_.leaders) {
      const Expiry::RetainedRoom now = leader->expiry().RetainedNow();
      const RetainedPending::Room& pending = leader->expiry().retained_pending().taken();
      taken.messages += now.messages + pending.messages;
      taken.bytes += now.bytes + pending.bytes;
    }
    const StorageOptions& options = node_.options;
    count_is_full =
        options.retained_messages_max != 0 && taken.messages >= options.retained_messages_max;
    bytes_are_full =
        options.retained_bytes_max != 0 && taken.bytes + stored_bytes > options.retained_bytes_max;
    if (!count_is_full && !bytes_are_full) return absl::OkStatus();
  } while (sweep_any());
  const Leader& home = node_.HomeOf(message.topic());
  uint64_t replaced_bytes = 0;
  if (const RetainedSet* const pending = home.expiry().retained_pending().Find(message.topic())) {
    replaced_bytes = pending->removes() ? 0 : pending->bytes;
  } else {
    ASSIGN_OR_RETURN(const mqtt::MessagePtr existing,
                     ReadRetained(node_.reader, home.id(), message.topic()));
    if (existing) replaced_bytes = StoredMessageSize(existing->parts());
  }
  const bool fits = !bytes_are_full || replaced_bytes >= stored_bytes;
  if (replaced_bytes != 0 && fits) return absl::OkStatus();
  return absl::ResourceExhaustedError("retained_messages_max or retained_bytes_max is reached");
}

// ---- Room in queues -----------------------------------------------------------------------------

void Publishing::Reserve(PartitionId partition, const QueueReservation& reservation) {
  Leader& leader = *node_.leaders[partition];
  leader.room().Promise(reservation);
  reserved_.push_back({partition, leader.life(), reservation});
}

void Publishing::TakeBackReserved() { node_.Release(std::exchange(reserved_, {})); }

// With queue_full: refuse. A message that some session's queue has no room for is refused as a
// whole, before anything of it is stored; with what is on its way counted, what passes here fits.
// (What comes out of an outbox and is larger than a whole queue would stay there for ever: who is
// to have it does not.)
absl::Status Publishing::ReserveQueueRoom(const mqtt::Message& message, PartitionMask partitions,
                                          ComesFrom from) {
  if (node_.options.queue_full != QueueFull::kRefuse) return absl::OkStatus();
  if (message.qos() == mqtt::QoS::kAtMostOnce) return absl::OkStatus();
  const uint64_t size = EntrySizeAtMost(message);
  std::vector<std::pair<PartitionId, QueueReservation>> wanted;
  const Session* full = nullptr;
  for (const auto& each : node_.leaders) {
    Leader& leader = *each;
    const PartitionId id = leader.id();
    if ((partitions >> id & 1) == 0 || full != nullptr) continue;
    // Whoever gets it has room: no need to know who.
    if (leader.room().IsCalm(size)) {
      const uint64_t at_most =
          size + kIdentifierBytesMax * leader.partition().CountFilters(message.topic());
      if (leader.room().IsCalm(at_most)) {
        wanted.push_back({id, {.slot = kNoSlot, .bytes = at_most}});
        continue;
      }
    }
    uint64_t bytes_max = leader.partition().limits().queue_bytes_max();
    if (from == ComesFrom::kPublisher || bytes_max == 0) {
      bytes_max = std::numeric_limits<uint64_t>::max();
    }
    if (StoredMessageSize(message.parts()) > bytes_max) continue;
    const auto ask_for_room = [&](const Session& session, size_t identifiers) {
      const uint64_t bytes = std::min(size + kIdentifierBytesMax * identifiers, bytes_max);
      if (full == nullptr && !leader.room().HasRoom(session, bytes)) full = &session;
      wanted.push_back({id, {.slot = session.slot, .bytes = bytes}});
    };
    leader.partition().ForEachReceiver(message.parts(), ask_for_room);
    leader.subscriptions().ForEachToBe(message.topic(), ask_for_room);
  }
  if (full != nullptr) return RefuseForQueue(message, *full, from);
  for (const auto& [id, each] : wanted) Reserve(id, each);
  return absl::OkStatus();
}

absl::Status Publishing::RefuseForQueue(const mqtt::Message& message, const Session& full,
                                        ComesFrom from) {
  const bool waits = from == ComesFrom::kOutbox;
  if (!waits) node_.metrics.refused_queue_full.Add();
  base::LogLimited(base::LogLevel::kWarning, waits ? "message waits" : "message refused",
                   "a session's queue is full",
                   {{"client", base::Shortened(full.client_id)},
                    {"queued_messages", full.queue.messages()},
                    {"queued_bytes", full.queue.bytes()},
                    {"connected", full.connected},
                    {"publisher", base::Shortened(base::AbslView(message.publisher()))},
                    {"topic", base::Shortened(base::AbslView(message.topic()))}});
  return absl::ResourceExhaustedError("the queue of a session that it is for is full");
}

// ---- Members of `$share` groups without room ----------------------------------------------------

const ShareMembers::Member* Publishing::ChooseWithRoom(const std::string& share_filter,
                                                       const mqtt::Message& message) {
  const uint64_t size = EntrySizeAtMost(message) + share_filter.size();
  return node_.share_members.Choose(share_filter, [&](const ShareMembers::Member& member) {
    if (member.subscription.options.qos == mqtt::QoS::kAtMostOnce) return false;
    const Leader& leader = *node_.leaders[member.partition];
    if (!leader.Refusal(/*stores=*/false).ok()) return false;
    const Session* const session = leader.partition().Find(member.client_id);
    if (session == nullptr || !leader.room().HasRoom(*session, size)) return false;
    return node_.may_read == nullptr ||
           node_.may_read({session->client_id, session->user_name, session->listener},
                          message.topic());
  });
}

// The shard chose as far as it knew. A member that has no room is passed over while another durable
// one has; and a shard that has not said that nobody else has any hears that this one has none: the
// partition then sets the message aside, and a shard is asked again.
bool Publishing::SettleTargets(const ShardAddress& from, Parts& parts) {
  absl::InlinedVector<std::pair<size_t, SharedTarget>, 1> targets;  // With the part that had it.
  for (size_t i = 0; i < parts.size(); ++i) {
    for (SharedTarget& target : parts[i].shared_targets) targets.emplace_back(i, std::move(target));
    parts[i].shared_targets.clear();
  }
  for (auto& [asked, target] : targets) {
    std::optional<size_t> place = PlaceFor(from, parts, asked, target);
    if (!place.has_value()) {
      if (node_.options.queue_full == QueueFull::kRefuse) {
        const Leader& leader = *node_.leaders[parts[asked].partition];
        const Session* const full = leader.partition().Find(target.client_id);
        const ComesFrom from_where =
            parts[asked].outbox ? ComesFrom::kOutbox : ComesFrom::kPublisher;
        RefuseForQueue(*parts.front().message, *full, from_where).IgnoreError();
        return false;
      }
      place = asked;
    }
    parts[*place].shared_targets.push_back(std::move(target));
  }
  return true;
}

// Which part is to have it; it may become another member's. (Of one in a partition without a part
// the message becomes when it is set aside for the group.) None: as far as anybody knows no member
// has room.
std::optional<size_t> Publishing::PlaceFor(const ShardAddress& from, const Parts& parts,
                                           size_t asked, SharedTarget& target) {
  const mqtt::Message& message = *parts.front().message;
  Leader& leader = *node_.leaders[parts[asked].partition];
  const Session* const session = leader.partition().Find(target.client_id);
  if (session == nullptr) return asked;
  const uint64_t size = EntrySizeAtMost(message) + target.filter.size();
  if (leader.room().HasRoom(*session, size)) {
    Reserve(leader.id(), {.slot = session->slot, .bytes = size});
    return asked;
  }
  const uint64_t bytes_max = leader.partition().limits().queue_bytes_max();
  if (bytes_max != 0 && size > bytes_max) {  // It never will have: nor has anybody else.
    target.last_choice = true;
    return asked;
  }
  leader.room().TellWithoutRoom(from, *session);
  if (const ShareMembers::Member* const other = ChooseWithRoom(target.filter, message)) {
    const auto place = std::find_if(parts.begin(), parts.end(), [&](const Part& part) {
      return part.partition == other->partition;
    });
    if (place == parts.end()) {
      target.last_choice = false;
      return asked;
    }
    const Session* const chosen =
        node_.leaders[other->partition]->partition().Find(other->client_id);
    Reserve(other->partition, {.slot = chosen->slot, .bytes = size});
    target = TargetOf(*other);
    return static_cast<size_t>(place - parts.begin());
  }
  if (!target.last_choice) return asked;
  return std::nullopt;
}

}  // namespace storage
