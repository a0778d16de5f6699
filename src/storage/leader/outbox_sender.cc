#include "storage/leader/outbox_sender.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/keys.h"
#include "storage/leader/leader.h"

namespace storage {
namespace {

constexpr size_t kPageMax = 64;
// Numbers between the first record that is there and the last. Partitions remember which of them
// were not for them: while one that cannot take the first stands still that grows.
constexpr uint64_t kSpanMax = 1'000'000;
// After a start, members whose sessions ended with the last process come back: so long, and so
// often, what their group had is told of.
constexpr absl::Duration kPatience = absl::Minutes(1);
constexpr absl::Duration kRetry = absl::Seconds(2);
// What came behind another one that is told of again, for which members of groups are chosen.
constexpr absl::Duration kRetryBehind = absl::Milliseconds(10);

}  // namespace

// ---- What is there ------------------------------------------------------------------------------

void OutboxSender::Start() {
  scan_ = {.wanted = partition().outbox().messages() != 0, .recovered = partition().last_outbox()};
  patience_ends_ = node_.now.monotonic + kPatience;
}

void OutboxSender::Withdraw() {
  // tidy: any order: a sum.
  for (const auto& [number, told] : told_) node_.outbox_told.Remove(told.bytes);
  told_.clear();
  for (const auto& [number, rooms] : std::exchange(held_, {})) node_.Release(rooms);
}

void OutboxSender::On(OutboxGrew& /*effect*/) { scan_.wanted = true; }

// Read a page at a time: a session may leave as many as its queue held. While the server ends they
// stay: shards have nobody left to pass them on to. Likewise while this node is aside: its shards
// may not know whom they are for.
void OutboxSender::Run() {
  if (node_.shutting_down || node_.aside || node_.now.monotonic < read_again_at_) return;
  if (again_at_.has_value() && node_.now.monotonic >= *again_at_) LookAgain();
  while (scan_.wanted && node_.RoomForBackground() && node_.outbox_told.HasRoom() &&
         node_.work_left > node_.shared_work_until) {
    auto page = partition().outbox().Read(node_.reader, id_, scan_.passed, kPageMax);
    if (!page.ok()) {
      node_.NoteDamage(page.status());
      base::Log(base::LogLevel::kError, "cannot read messages that are to be passed on",
                {{"partition", id_}, {"error", page.status()}});
      if (absl::IsDataLoss(page.status())) {  // Nobody else waits for what will not pass.
        scan_.wanted = false;
      } else {
        read_again_at_ = node_.now.monotonic + absl::Seconds(1);
      }
      return;
    }
    node_.work_left -= std::min(node_.work_left, page->size() + 1);
    for (OutboxRecord& record : *page) {
      if (!node_.outbox_told.HasRoom()) return;
      scan_.passed = record.number;
      Consider(std::move(record));
    }
    scan_.wanted = page->size() == kPageMax;
  }
}

void OutboxSender::Consider(OutboxRecord record) {
  if (ending_.contains(record.number) || told_.contains(record.number)) return;
  if (record.message->has_expired(Now())) {
    return ProposeDone({.number = record.number, .expired = true}, nullptr);
  }
  if (record.kind == Kind::kWill) {
    // Rights are those of the moment: without them the will is deleted, and nobody hears of it.
    const SessionUser author{record.client_id, record.user_name, record.listener};
    if (node_.may_publish != nullptr && !node_.may_publish(author, record.message->topic())) {
      return ProposeDone({.number = record.number, .not_authorized = true}, nullptr);
    }
  }
  if (groups_without_.contains(record.share_filter)) return Keep(kRetry);
  Tell(std::move(record));
}

const ShardAddress& OutboxSender::Teller() const {
  return node_.shards.AddressOf(id_ % node_.shards.own());
}

void OutboxSender::Tell(OutboxRecord record) {
  const uint64_t bytes = record.message->bytes();
  node_.outbox_told.Add(bytes);
  told_.emplace(record.number, Told{bytes, record.share_filter, record.kind});
  RouteMessage route;
  route.message = std::move(record.message);
  route.outbox = {id_, record.number, partition().outbox().first()};
  route.groups_only = record.kind == Kind::kLeft;
  route.in_order = record.kind == Kind::kInbound;
  route.clears_only = record.clears_only;
  route.only_filter = std::move(record.share_filter);
  route.targets = std::move(record.targets);
  // Among others whoever can read it leads it.
  for (const auto& leader : node_.leaders) {
    const bool stands = leader->replica().stopped() && !node_.shards.in_cluster();
    if (stands) route.without |= BitOf(leader->id());
  }
  node_.Send(Teller(), std::move(route));
}

bool OutboxSender::HasRoomForWill() const {
  return partition().outbox().HasRoom(partition().limits(), 1 + expected_messages_,
                                      expected_bytes_);
}

bool OutboxSender::HasRoomFor(uint64_t bytes) const {
  const uint64_t first = partition().outbox().first();
  if (first != 0 && partition().last_outbox() - first >= kSpanMax) return false;
  return partition().outbox().HasRoom(partition().limits(), 1 + expected_messages_,
                                      bytes + expected_bytes_);
}

// ---- Room where it goes -------------------------------------------------------------------------

void OutboxSender::Hold(uint64_t number, HeldRooms rooms) {
  if (rooms.empty()) return;
  if (number == 0) return node_.Release(rooms);
  HeldRooms& held = held_[number];
  held.insert(held.end(), rooms.begin(), rooms.end());
}

HeldRooms OutboxSender::TakeHeld(uint64_t number, PartitionId partition) {
  HeldRooms taken;
  const auto found = held_.find(number);
  if (found == held_.end()) return taken;
  HeldRooms& rooms = found->second;
  const auto rest = std::stable_partition(
      rooms.begin(), rooms.end(),
      [partition](const HeldRoom& room) { return room.partition != partition; });
  taken.assign(rest, rooms.end());
  rooms.erase(rest, rooms.end());
  return taken;
}

void OutboxSender::ReleaseHeld(uint64_t number) {
  const auto found = held_.find(number);
  if (found == held_.end()) return;
  node_.Release(found->second);
  held_.erase(found);
}

// ---- What the shard says ------------------------------------------------------------------------

OutboxSender::Told OutboxSender::TakeTold(uint64_t number) {
  const auto found = told_.find(number);
  if (found == told_.end()) return {};
  Told told = std::move(found->second);
  told_.erase(found);
  node_.outbox_told.Remove(told.bytes);
  return told;
}

void OutboxSender::Handle(const Asker& from, OutboxDone& request) {
  const uint64_t number = request.number;
  if (!partition().outbox().Contains(number)) {  // It may have expired, and made room for another.
    TakeTold(number);
    ReleaseHeld(number);
    return Answer(from.shard, request.token, absl::FailedPreconditionError("it is gone already"));
  }
  if (WereOthersChosen(request)) {
    Answer(from.shard, request.token,
           absl::FailedPreconditionError("other members were chosen for it"));
    if (from.shard != Teller()) return;
    TakeTold(number);
    return Keep(kRetryBehind);
  }
  const Told told = TakeTold(number);
  if (request.fate == OutboxDone::Fate::kPassedOn) {
    if (told.kind == Kind::kWill) node_.metrics.wills_published.Add();
    return ProposeDone({.number = number,
                        .inbound = told.kind == Kind::kInbound,
                        .shard = from.shard,
                        .token = request.token},
                       &from);
  }
  if (request.fate == OutboxDone::Fate::kRefused) return Keep(kRetry);
  if (request.fate == OutboxDone::Fate::kBehind) return Keep(kRetryBehind);
  const bool members_full = request.fate == OutboxDone::Fate::kMembersFull;
  const bool recovered = number <= scan_.recovered;
  const bool waits = members_full || (recovered && node_.now.monotonic < patience_ends_);
  if (waits || node_.shutting_down) {
    if (!told.share_filter.empty()) groups_without_.insert(told.share_filter);
    return Keep(kRetry);
  }
  ProposeDone({.number = number, .dropped = true}, &from);
}

// After a change of leaders two shards may have it, and the members of one are not the other's.
// Whichever choice is proposed first stands: durable members by OutboxAssign, others by OutboxDone.
// The other one is not proposed: the next leader could not tell it from what removed the record.
bool OutboxSender::WereOthersChosen(const OutboxDone& request) const {
  if (request.token == 0) return false;
  if (ending_.contains(request.number)) return true;
  if (request.members_told == 0) return false;
  if (assigning_.contains(request.number)) return true;
  const auto record = partition().outbox().Read(node_.reader, id_, request.number - 1, 1);
  if (!record.ok()) return true;
  return MembersTold(record->front().targets) > request.members_told;
}

void OutboxSender::Repeat(const Asker& from, OutboxDone& request) {
  Answer(from.shard, request.token, absl::OkStatus());
}

void OutboxSender::ProposeDone(FinishOutbox step, const Asker* asker) {
  ending_.insert(step.number);
  pb::Command& command =
      asker == nullptr ? Propose(&step.command) : ProposeFor(*asker, &step.command);
  command.mutable_outbox_done()->add_numbers(step.number);
  // Were it lost, a QoS 2 message would be passed on once more, and recognised everywhere.
  if (!step.inbound || step.token != 0) NeedSync();
  Then(step);
}

void OutboxSender::Finish(FinishOutbox& step) {
  ending_.erase(step.number);
  ReleaseHeld(step.number);
  // Two shards may have passed it on: one of them gives it to the members that it has chosen.
  if (OutcomeAt(step.command).code == OutcomeCode::kNothing) {
    return Answer(step.shard, step.token, absl::FailedPreconditionError("it is gone already"));
  }
  if (step.dropped) node_.metrics.dropped_no_member.Add();
  if (step.expired) node_.metrics.dropped_expired.Add();
  if (step.not_authorized) node_.metrics.wills_not_authorized.Add();
  Answer(step.shard, step.token, absl::OkStatus());
}

void OutboxSender::Answer(const ShardAddress& shard, Token token, const absl::Status& status) {
  if (token == 0) return;
  node_.Send(shard, Published{.token = token, .status = status, .partition = id_});
}

// ---- Members of groups are chosen ---------------------------------------------------------------

void OutboxSender::Handle(const Asker& from, OutboxAssign& request) {
  if (!partition().outbox().Contains(request.number)) {
    TakeTold(request.number);
    return ReleaseHeld(request.number);
  }
  if (ending_.contains(request.number)) return;
  pb::Command& command = ProposeFor(from);
  command.set_level(kLevelOfOutbox);
  pb::OutboxAssign& assign = *command.mutable_outbox_assign();
  assign.set_number(request.number);
  for (const SharedTarget& target : request.targets) StoreTarget(target, *assign.add_targets());
  assigning_.insert(request.number);
  NeedSync();
  Then(FinishOutboxAssign{request.number});
}

// It is told of again in any case: this leader was not there when it was told of.
void OutboxSender::Repeat(const Asker& /*from*/, OutboxAssign& /*request*/) {}

void OutboxSender::Finish(FinishOutboxAssign& step) {
  assigning_.erase(step.number);
  TakeTold(step.number);
  if (!partition().outbox().Contains(step.number)) return ReleaseHeld(step.number);  // Expired.
  auto record = partition().outbox().Read(node_.reader, id_, step.number - 1, 1);
  if (!record.ok()) {  // Whoever reads it the next time tells what is wrong.
    scan_.passed = std::min(scan_.passed, step.number - 1);
    scan_.wanted = true;
    return;
  }
  Tell(std::move(record->front()));
  TellSoon();  // Of what came behind it meanwhile.
}

// ---- Again --------------------------------------------------------------------------------------

// Until the next try, which is no later than that.
void OutboxSender::Keep(absl::Duration retry) {
  scan_.keeps = true;
  if (!again_at_.has_value()) again_at_ = node_.now.monotonic + retry;
}

void OutboxSender::TellSoon() {
  if (again_at_.has_value()) again_at_ = node_.now.monotonic;
}

std::optional<absl::Duration> OutboxSender::Next() const {
  std::optional<absl::Duration> next;
  if (node_.aside) return next;
  if (scan_.wanted && node_.outbox_told.HasRoom()) {  // Else an answer wakes.
    next = std::max(node_.now.monotonic, read_again_at_);
  }
  if (!again_at_.has_value()) return next;
  const absl::Duration again = std::max(*again_at_, read_again_at_);
  return std::min(next.value_or(again), again);
}

void OutboxSender::LookAgain() {
  again_at_.reset();
  groups_without_.clear();
  if (!std::exchange(scan_.keeps, false)) return;
  scan_.passed = 0;
  scan_.wanted = true;
}

}  // namespace storage
