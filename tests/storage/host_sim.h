// A Host without threads, on a disk that forgets: what was not synced may be gone after a
// crash.
#ifndef TESTS_STORAGE_HOST_SIM_H_
#define TESTS_STORAGE_HOST_SIM_H_

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/timeline.h"
#include "storage/core/keys.h"
#include "storage/core/outbox_ledger.h"
#include "storage/core/request_streams.h"
#include "storage/core/session.h"
#include "storage/core/time_record.h"
#include "storage/leader/host.h"
#include "storage/leader/share_members.h"
#include "tests/storage/forgetful_disk.h"
#include "tests/storage/requests.h"
#include "tests/support/fake_clock.h"

namespace storage {

class HostSim {
 public:
  explicit HostSim(StorageOptions options, ShardId shards = 1, Incarnation incarnation = {})
      : options_(std::move(options)), shards_(shards), incarnation_(incarnation) {
    Boot();
  }

  Host& core() { return *core_; }
  MemoryState& state() { return state_; }
  MemoryLog& log() { return log_; }
  support::FakeClock& clock() { return clock_; }
  // As messages and sessions count it.
  int64_t now_unix_ms() const { return timeline_.UnixMs(clock_.MonotonicNs()); }
  // As if the partitions had been led by a node whose time was ahead of this one's.
  void FallBehind(absl::Duration by) {
    timeline_.Set(now_unix_ms() - absl::ToInt64Milliseconds(by), clock_.MonotonicNs());
  }
  HostMetrics& metrics() { return *metrics_; }

  // Every event goes here; without it they are kept in `events`.
  std::function<void(ShardId, Event&)> on_event;
  std::vector<Event> events;
  // Shards confirm routes as they hear of them; or nobody does.
  bool confirm_routes = true;
  // They have room for the next page of a replay when they have one; or never.
  bool take_replays = true;
  // Takes Published and StreamAck as a shard does (Send cuts each Publish into parts, and numbers
  // all requests); or a shard does so, whose requests come by Take.
  bool plays_shards = true;
  // Passes on what outboxes hold, to all partitions and to durable members of groups. What a group
  // without these is to have is left to who hears the event; so is all of it if this is false.
  bool passes_on = true;
  // Events wait until DeliverEvents; those of a leader that goes before are lost.
  bool holds_events = false;
  // What is wrong with this world: tests must notice.
  enum class Mutant {
    kNone,
    kAcknowledgeBeforeCommit,
    kForgetEpoch,
    kSkipSequence,
    kRefuseAfterProposing,
    kResendFromHead,
    kDropOutboxEarly,
  };
  Mutant mutant = Mutant::kNone;
  // Bytes of entries, and how many were to be synced.
  uint64_t log_bytes = 0;
  uint64_t greatest_write_bytes = 0;
  size_t log_syncs = 0;

  void Send(Request request, ShardId from = 0) {
    Tick();
    std::visit([&](auto& one) { Note(one, from); }, request);
    auto* const publish = std::get_if<Publish>(&request);
    if (publish == nullptr) return Ask(from, std::move(request));
    published_.Cut(std::move(*publish), options_.partitions, [&](Publish part) {
      if (passing_.contains(part.token)) {
        part.outbox_after =
            ledgers_[from].AskOf(part.partition, part.outbox, OutboxLedger::OrderOf(*part.message));
      }
      Ask(from, std::move(part));
    });
  }
  // As a shard has numbered it.
  void Take(ShardId from, Addressed request) {
    Tick();
    if (const auto* open = std::get_if<OpenSession>(&request.request)) {
      names_[open->connection.connection] = open->client_id;
    }
    core_->OnRequest(AddressOf(from), std::move(request));
  }
  // What the shard's partitions have not said to be done.
  size_t kept(ShardId shard = 0) const { return streams_[shard].kept(); }

  // The partition gets a new leader; what the former one has said and nobody has heard is lost.
  void ReplaceLeader(PartitionId id) {
    Tick();
    if (mutant == Mutant::kRefuseAfterProposing) RefuseUnanswered(id);
    DropPending(id);
    core_->ReplaceLeader(id);
    Run();
  }

  // The shards know nothing of any connection.
  void ForgetConnections() { connections_.clear(); }

  // One step of the machine: hand a group to the log, have it written, apply.
  void BeginWrite() {
    Tick();
    if (writing_.has_value()) return;
    std::optional<Submission> group = core_->TakeSubmission();
    if (group.has_value()) writing_ = log_.Number(*std::move(group));
  }
  // What is handed to the log, and not known to be there.
  const std::optional<MemoryLog::Batch>& being_written() const { return writing_; }
  void EndWrite(const absl::Status& status = absl::OkStatus()) {
    Tick();
    if (!writing_.has_value()) return;
    MemoryLog::Batch write = *std::move(writing_);
    writing_.reset();
    if (mutant == Mutant::kAcknowledgeBeforeCommit) write.sync = false;
    if (!status.ok()) {
      log_fails_ = true;
      log_.Fail(std::move(write));
      return core_->OnLog(LogHealth{status});
    }
    uint64_t bytes = 0;
    for (const Committed& entry : write.entries) bytes += entry.entry.size();
    log_bytes += bytes;
    greatest_write_bytes = std::max(greatest_write_bytes, bytes);
    log_syncs += write.sync ? 1 : 0;
    log_.Append(write);
    TellCommitted(std::move(write));
  }
  // The log tries to work again, if it does not.
  void Repair(const absl::Status& status = absl::OkStatus()) {
    Tick();
    if (!log_fails_ || writing_.has_value()) return;
    if (!status.ok()) return core_->OnLog(LogHealth{status});
    log_fails_ = false;
    MemoryLog::Batch again = log_.Repair();
    core_->OnLog(LogHealth{absl::OkStatus()});
    TellCommitted(std::move(again));
  }

  // Most replicas of the partition are gone: nothing of it is committed until FindQuorum.
  void LoseQuorum(PartitionId id) { without_quorum_ = id; }
  void FindQuorum() {
    without_quorum_.reset();
    for (Committed& entry : std::exchange(undecided_, {})) core_->OnLog(std::move(entry));
  }

  // Another node leads the partition. What was on its way to the log is nobody's: it is committed
  // all the same, or (`lost`) it is in no log.
  void LoseLead(PartitionId id, bool lost) {
    if (!core_->leads(id)) return;
    Tick();
    DropPending(id);
    if (writing_.has_value()) {
      std::vector<Committed>& entries = writing_->entries;
      const auto found = std::find_if(entries.begin(), entries.end(),
                                      [id](const Committed& one) { return one.partition == id; });
      if (found != entries.end()) {
        core_->OnLog(NotCommitted{.partition = id, .proposal = found->proposal});
        found->proposal = 0;
        if (lost) {
          entries.erase(found);
          log_.TakeBack(id);
        }
      }
    }
    core_->OnLog(RoleChange{.partition = id, .leads = false, .term = log_.term()});
    Run();
  }
  // Who leads it has proposed that.
  void CommitElsewhere(PartitionId id, std::string entry) {
    core_->OnLog(log_.AppendOfOther(id, std::move(entry)));
  }
  void TakeLead(PartitionId id) {
    if (core_->leads(id)) return;
    EndWrite();
    Tick();
    Committed first = log_.BeginTerm(id);
    core_->OnLog(
        RoleChange{.partition = id, .leads = true, .term = first.term, .acts_behind = first.index});
    core_->OnLog(std::move(first));
    Run();
  }
  void Run() {
    Tick();
    core_->Run();
    TakeEvents();
    if (!holds_events) DeliverEvents();
  }
  void DeliverEvents() {
    while (!pending_.empty()) {
      auto [shard, event] = std::move(pending_.front());
      pending_.pop_front();
      Hear(shard, event);
    }
    if (std::exchange(asked_, false)) Run();
  }
  // What they did not while `confirm_routes` was false.
  void ConfirmRoutesNow() {
    confirm_routes = true;
    for (ShardId shard = 0; shard < shards_; ++shard) ConfirmHeard(shard);
  }

  // Until nothing is left to do at this moment.
  void Settle() {
    for (int i = 0; i < 1000; ++i) {
      BeginWrite();
      EndWrite();
      Run();
      DeliverEvents();
      Repair();
      clock_.Advance(absl::Milliseconds(6));  // Longer than acknowledgements wait for company.
      if (core_->Drained() && !writing_.has_value()) {
        BeginWrite();
        Run();
        const bool rests = core_->Drained() && !writing_.has_value() && pending_.empty();
        if (rests && core_->healthy()) return;
      }
    }
    CHECK(false) << "the host never comes to rest";
  }

  // The machine dies and starts again.
  void Crash(base::Rng& rng) {
    writing_.reset();
    log_fails_ = false;
    log_.Crash(rng);
    state_.Crash();
    Boot();
  }

  // The same, with another release of the broker.
  void CrashInto(StorageOptions options, base::Rng& rng) {
    options_ = std::move(options);
    Crash(rng);
  }

  // The events of a type heard so far, which are taken away.
  template <typename T>
  std::vector<T> Take() {
    std::vector<T> taken;
    std::vector<Event> rest;
    for (Event& event : events) {
      if (T* wanted = std::get_if<T>(&event)) {
        taken.push_back(std::move(*wanted));
      } else {
        rest.push_back(std::move(event));
      }
    }
    events = std::move(rest);
    return taken;
  }

 private:
  // A connection as its shard has it.
  struct Connected {
    ShardId shard = 0;
    Token token = 0;  // Of its OpenSession.
    bool open = false;
    Claims::Held held;
  };

  ShardAddress AddressOf(ShardId shard) const {
    return {.shard = shard, .incarnation = incarnation_};
  }
  void Ask(ShardId from, Request request) {
    if (mutant == Mutant::kForgetEpoch) std::visit([&](auto& one) { Renew(one); }, request);
    Addressed asked(std::move(request));
    streams_[from].Number(asked);
    std::visit(
        [&](const auto& one) {
          if constexpr (requires { one.token; }) partition_of_[one.token] = asked.partition;
        },
        asked.request);
    core_->OnRequest(AddressOf(from), std::move(asked));
  }
  template <typename Asked>
  void Renew(Asked& request) {
    if constexpr (requires {
                    request.epoch;
                    request.client_id;
                  }) {
      const PartitionId id = PartitionOfClient(request.client_id, options_.partitions);
      if (const Session* const session = core_->partition(id).Find(request.client_id)) {
        request.epoch = session->epoch;
      }
    }
  }

  // ---- What a shard does with what it says and hears.
  void Note(OpenSession& open, ShardId from) {
    names_[open.connection.connection] = open.client_id;
    Connected& connected = connections_[open.connection.connection];
    connected = {.shard = from, .token = open.token, .open = false, .held = {}};
    connected.held.client_id = open.client_id;
    connected.held.user_name = open.user_name;
    connected.held.connection = open.connection;
    connected.held.window_messages = open.window_messages;
    connected.held.window_bytes = open.window_bytes;
    connected.held.packet_size_max = open.packet_size_max;
  }
  void Note(CloseSession& close, ShardId from) {
    const auto found = connections_.find(close.connection.connection);
    if (found == connections_.end()) return;
    if (!found->second.open) streams_[from].OnAnswer(found->second.token);
    if (found->second.open && holds_events) close.sent_through = found->second.held.sent_through;
    connections_.erase(found);
  }
  void Note(Acknowledge& acknowledge, ShardId /*from*/) {
    for (auto& [number, connected] : connections_) {
      if (connected.held.epoch != acknowledge.epoch) continue;
      if (connected.held.client_id != acknowledge.client_id) continue;
      for (const Acknowledge::Entry& entry : acknowledge.entries) {
        if (entry.kind != AckKind::kPubRec) std::erase(connected.held.in_flight, entry.sequence);
      }
    }
  }
  template <typename Other>
  void Note(Other& /*request*/, ShardId /*from*/) {}

  void Heed(const SessionOpened& opened, ShardId shard) {
    streams_[shard].OnAnswer(opened.token);
    for (auto& [number, connected] : connections_) {
      if (connected.token != opened.token || connected.shard != shard) continue;
      connected.open = opened.status.ok();
      connected.held.epoch = opened.epoch;
    }
  }
  void Heed(const storage::Deliver& deliver, ShardId /*shard*/) {
    const auto found = connections_.find(deliver.connection.connection);
    if (found == connections_.end() || found->second.held.epoch != deliver.epoch) return;
    Claims::Held& held = found->second.held;
    for (const Delivery& delivery : deliver.entries) {
      if (delivery.sequence == 0) continue;
      held.sent_through = std::max(held.sent_through, delivery.sequence);
      held.in_flight.push_back(delivery.sequence);
    }
  }
  void Heed(const ClaimsWanted& wanted, ShardId shard) {
    Claims claims;
    claims.partition = wanted.partition;
    claims.life = wanted.life;
    for (const auto& [number, connected] : connections_) {
      const std::string& client_id = connected.held.client_id;
      if (!connected.open || connected.shard != shard) continue;
      if (PartitionOfClient(client_id, options_.partitions) != wanted.partition) continue;
      claims.held.push_back(connected.held);
      if (mutant != Mutant::kResendFromHead) continue;
      claims.held.back().sent_through = 0;
      claims.held.back().in_flight.clear();
    }
    std::vector<Addressed> repeats = streams_[shard].Repeat(
        claims, [&](const Request& asked) { return IsAnswered(asked, claims.partition); });
    core_->OnRequest(AddressOf(shard), std::move(claims));
    for (Addressed& repeat : repeats) {
      if (mutant == Mutant::kSkipSequence) repeat.sequence |= uint64_t{1} << 40;
      core_->OnRequest(AddressOf(shard), std::move(repeat));
    }
    asked_ = true;
  }
  bool IsAnswered(const Request& asked, PartitionId partition) const {
    Token token = 0;
    if (const auto* const publish = std::get_if<Publish>(&asked)) token = publish->token;
    if (const auto* const accept = std::get_if<AcceptInbound>(&asked)) token = accept->token;
    return token != 0 && !published_.Awaits(token, partition);
  }
  void Heed(const StreamAck& ack, ShardId shard) { streams_[shard].OnAck(ack); }
  void Heed(const SubscribeDone& done, ShardId shard) { streams_[shard].OnAnswer(done.token); }
  void Heed(const UnsubscribeDone& done, ShardId shard) { streams_[shard].OnAnswer(done.token); }
  void Note(AcceptInbound& accept, ShardId /*from*/) {
    published_.Expect(accept.token, PartitionOfClient(accept.client_id, options_.partitions));
  }
  void Note(OutboxDone& done, ShardId from) {
    if (done.token != 0) published_.Expect(done.token, done.partition);
    if (done.fate != OutboxDone::Fate::kPassedOn) {
      ledgers_[from].GiveBack({done.partition, done.number, 0}, 0);
    }
  }
  void Note(OutboxAssign& assign, ShardId from) {
    ledgers_[from].GiveBack({assign.partition, assign.number, 0}, 0);
  }
  void Heed(const ShareMemberChange& change, ShardId shard) {
    if (shard != 0) return;  // All hear the same.
    groups_.insert(change.subscription.filter);
    members_.Change(change.client_id, change.subscription, change.partition, change.state);
  }
  void Heed(const ShareMemberRoom& room, ShardId /*shard*/) {
    if (room.has_room) {
      full_.erase(room.client_id);
    } else {
      full_.insert(room.client_id);
    }
  }
  bool MayRead(const ShareMembers::Member& member, std::string_view topic) {
    const auto& may_read = core_->node().may_read;
    const Session* const session = core_->partition(member.partition).Find(member.client_id);
    return may_read == nullptr || session == nullptr ||
           may_read({session->client_id, session->user_name, session->listener}, topic);
  }
  // Chooses members of groups that are to have it. True: somebody was chosen, or is to be later.
  bool AskForMembers(const RouteMessage& route, ShardId shard) {
    OutboxAssign assign{.partition = route.outbox.partition, .number = route.outbox.number};
    assign.targets = route.targets;
    bool full = false;
    for (const std::string& filter : groups_) {
      const bool wanted = route.only_filter.empty() ? filter.substr(filter.find('/', 7) + 1) ==
                                                          route.message->topic()  // No wildcards.
                                                    : filter == route.only_filter;
      const bool chosen =
          std::any_of(route.targets.begin(), route.targets.end(),
                      [&](const SharedTarget& target) { return target.filter == filter; });
      if (!wanted || chosen) continue;
      const auto any = [](const ShareMembers::Member&) { return true; };
      const auto with_room = [&](const ShareMembers::Member& member) {
        return !full_.contains(member.client_id) && MayRead(member, route.message->topic());
      };
      const ShareMembers::Member* const member = members_.Choose(filter, with_room);
      if (member == nullptr) {
        full = members_.Choose(filter, any) != nullptr;
        continue;
      }
      assign.targets.push_back({.client_id = member->client_id,
                                .filter = filter,
                                .options = member->subscription.options,
                                .subscription_id = member->subscription.subscription_id});
    }
    if (assign.targets.size() > route.targets.size()) {
      Send(std::move(assign), shard);
    } else if (full && !route.only_filter.empty()) {
      Send(OutboxDone{.partition = route.outbox.partition,
                      .number = route.outbox.number,
                      .fate = OutboxDone::Fate::kMembersFull},
           shard);
    } else {
      return false;
    }
    asked_ = true;
    return true;
  }

  // Whether the test is to hear of it: not of a repeat.
  bool PassOn(const RouteMessage& route, ShardId shard) {
    if (!ledgers_[shard].Begin(route.outbox, OrderOf(route))) return false;
    if (!passes_on) return true;
    if (ledgers_[shard].MustWait(route.outbox, OrderOf(route))) {
      GiveBack(route, shard);
      return false;
    }
    if (AskForMembers(route, shard)) return false;
    const bool for_all = route.only_filter.empty() && !route.groups_only;
    if (!for_all && route.targets.empty()) return true;
    Publish publish;
    publish.token = ++passing_token_;
    publish.message = route.message;
    publish.outbox = route.outbox;
    publish.shared_targets = route.targets;
    if (for_all && route.message->qos() != mqtt::QoS::kAtMostOnce) {
      publish.partitions = ((PartitionMask{1} << options_.partitions) - 1) & ~route.without;
    }
    publish.set_retained = for_all && route.message->retain();
    const OutboxDone done{.partition = route.outbox.partition, .number = route.outbox.number};
    const bool stores =
        publish.partitions != 0 || publish.set_retained || !publish.shared_targets.empty();
    if (!stores || mutant == Mutant::kDropOutboxEarly) Send(done, shard);
    asked_ = true;
    if (!stores) return true;
    passing_[publish.token] = {shard, route.outbox, OrderOf(route)};
    Send(std::move(publish), shard);
    asked_ = true;
    return for_all;
  }
  // All that come from outboxes here are of one publisher, if their order matters.
  static OutboxLedger::Order OrderOf(const RouteMessage& route) { return route.in_order ? 1 : 0; }
  void GiveBack(const RouteMessage& route, ShardId shard) {
    ledgers_[shard].GiveBack(route.outbox, OrderOf(route));
    Send(OutboxDone{.partition = route.outbox.partition,
                    .number = route.outbox.number,
                    .fate = OutboxDone::Fate::kBehind},
         shard);
    asked_ = true;
  }
  void NoteAnswer(const Published& part) {
    const auto found = passing_.find(part.token);
    if (found == passing_.end() || !part.status.ok()) return;
    ledgers_[found->second.shard].Has(part.partition, found->second.record);
  }
  // Whether it was the answer to one of those.
  bool HasPassedOn(const Published& published) {
    const auto found = passing_.find(published.token);
    if (found == passing_.end()) return false;
    const auto [shard, record, order] = found->second;
    passing_.erase(found);
    OutboxDone done{.partition = record.partition, .number = record.number};
    if (!published.status.ok()) {
      done.fate = OutboxDone::Fate::kRefused;
    } else if (ledgers_[shard].IsOvertaking(record, order)) {
      done.fate = OutboxDone::Fate::kBehind;
    }
    if (done.fate == OutboxDone::Fate::kPassedOn) {
      ledgers_[shard].PassedOn(record, order);
    } else {
      ledgers_[shard].GiveBack(record, order);
    }
    Send(done, shard);
    asked_ = true;
    return true;
  }
  template <typename Other>
  void Heed(const Other& /*event*/, ShardId /*shard*/) {}

  // Whose leader has said it; none: nobody's in particular.
  std::optional<PartitionId> PartitionOf(const Event& event) const {
    return std::visit(
        [&](const auto& one) -> std::optional<PartitionId> {
          using T = std::decay_t<decltype(one)>;
          if constexpr (std::is_same_v<T, Published> || std::is_same_v<T, StreamAck> ||
                        std::is_same_v<T, ClaimsWanted>) {
            return one.partition;
          } else if constexpr (std::is_same_v<T, RouteMessage>) {
            return one.outbox.partition;
          } else if constexpr (std::is_same_v<T, TakenOver>) {
            return PartitionOfClient(one.client_id, options_.partitions);
          } else if constexpr (requires {
                                 one.connection.connection;
                                 one.epoch;
                               }) {
            return PartitionOfClient(names_.at(one.connection.connection), options_.partitions);
          } else if constexpr (std::is_same_v<T, RetainedPage>) {
            return std::nullopt;
          } else if constexpr (requires { one.token; }) {
            const auto found = partition_of_.find(one.token);
            return found == partition_of_.end() ? std::nullopt : std::optional(found->second);
          } else {
            return std::nullopt;
          }
        },
        event);
  }
  // What was said and nobody has heard.
  void DropPending(PartitionId id) {
    TakeEvents();
    if (!holds_events) return;
    std::erase_if(pending_, [&](const auto& one) { return PartitionOf(one.second) == id; });
  }
  void TellCommitted(MemoryLog::Batch batch) {
    for (Committed& entry : batch.entries) {
      if (entry.partition == without_quorum_) {
        undecided_.push_back(std::move(entry));
      } else {
        core_->OnLog(std::move(entry));
      }
    }
  }
  void RefuseUnanswered(PartitionId id) {
    for (const Token token : published_.Unanswered(id)) {
      pending_.emplace_back(0, Published{.token = token,
                                         .status = absl::UnavailableError("a new leader"),
                                         .duplicate = false,
                                         .partition = id});
    }
    DeliverEvents();
  }

  void Tick() {
    time_record_ = {.clocks = ReadClocks(), .unix_ms = now_unix_ms()};
    core_->SetTime({.unix_ms = now_unix_ms(), .monotonic = clock_.Monotonic()});
  }
  ClockReading ReadClocks() const {
    return {.boot_id = clock_.BootId(),
            .boot_ms = absl::ToInt64Milliseconds(clock_.SinceBoot()),
            .wall_ms = absl::ToUnixMillis(clock_.Now())};
  }

  void Boot() {
    core_.reset();
    published_.Clear();
    metrics_ = std::make_unique<HostMetrics>();
    pending_.clear();
    connections_.clear();
    partition_of_.clear();
    asked_ = false;
    passing_.clear();
    ledgers_.assign(shards_, {});
    members_ = {};
    groups_.clear();
    full_.clear();
    streams_.clear();
    for (ShardId shard = 0; shard < shards_; ++shard) streams_.emplace_back(options_.partitions);
    core_ = std::make_unique<Host>(options_, shards_, state_, *metrics_, rng_);
    core_->SetSelf({}, incarnation_);
    core_->SetLogReader([this](PartitionId partition, uint64_t after, const auto& visit) {
      return log_.ReadAfter(partition, after, visit);
    });
    CHECK(core_->Load().ok()) << "load";
    log_.Replay(*core_);
    timeline_.Set(TimeAtStart(time_record_, ReadClocks(), core_->last_time_unix_ms()),
                  clock_.MonotonicNs());
    Tick();
    bool ready = false;
    core_->Begin([&ready] { ready = true; });
    for (PartitionId id = 0; id < options_.partitions; ++id) {
      core_->OnLog(RoleChange{
          .partition = id, .leads = true, .term = log_.term(), .acts_behind = core_->applied(id)});
    }
    Run();
    while (!ready) {
      BeginWrite();
      EndWrite();
      Run();
      DeliverEvents();
    }
  }

  void TakeEvents() {
    for (ShardId shard = 0; shard < shards_; ++shard) {
      for (Event& event : core_->TakeEvents(shard)) pending_.emplace_back(shard, std::move(event));
    }
  }
  void Hear(ShardId shard, Event& event) {
    if (const auto* route = std::get_if<RouteChange>(&event)) Confirm(shard, route->number);
    if (const auto* block = std::get_if<RouteBlock>(&event)) Confirm(shard, block->number);
    if (const auto* member = std::get_if<ShareMemberChange>(&event)) {
      Confirm(shard, member->number);
    }
    if (const auto* deliver = std::get_if<storage::Deliver>(&event)) TakeReplay(*deliver);
    if (plays_shards) {
      std::visit([&](const auto& one) { Heed(one, shard); }, event);
      if (std::holds_alternative<StreamAck>(event)) return;
      if (std::holds_alternative<ClaimsWanted>(event)) return;
      if (auto* const part = std::get_if<Published>(&event)) {
        NoteAnswer(*part);
        std::optional<Published> all = published_.Join(std::move(*part));
        if (!all.has_value()) return;
        event = *std::move(all);
        if (HasPassedOn(std::get<Published>(event))) return;
      }
      if (const auto* const route = std::get_if<RouteMessage>(&event)) {
        if (!PassOn(*route, shard)) return;
      }
    }
    if (on_event) {
      on_event(shard, event);
    } else {
      events.push_back(std::move(event));
    }
  }
  void TakeReplay(const storage::Deliver& deliver) {
    const bool replays = std::any_of(deliver.entries.begin(), deliver.entries.end(),
                                     [](const Delivery& entry) { return entry.replay; });
    if (!replays || !take_replays) return;
    core_->OnRequest(deliver.connection.address(),
                     ReplayTaken{names_[deliver.connection.connection], deliver.epoch});
    asked_ = true;
  }
  void ConfirmHeard(ShardId shard) {
    core_->OnRequest(AddressOf(shard), ConfirmRoutes{heard_routes_});
    asked_ = true;
  }
  void Confirm(ShardId shard, uint64_t number) {
    heard_routes_ = number;
    if (confirm_routes) ConfirmHeard(shard);
  }

  StorageOptions options_;
  const ShardId shards_;
  const Incarnation incarnation_;  // It stays the same.
  base::Rng rng_{1};
  support::FakeClock clock_;
  base::Timeline timeline_;
  std::optional<TimeRecord> time_record_;
  MemoryState state_;
  MemoryLog log_;
  std::unique_ptr<HostMetrics> metrics_;
  std::unique_ptr<Host> core_;
  std::optional<MemoryLog::Batch> writing_;
  std::optional<PartitionId> without_quorum_;
  std::vector<Committed> undecided_;
  bool log_fails_ = false;
  absl::flat_hash_map<uint64_t, std::string> names_;  // Of clients, by their connections.
  PublishJoiner published_;
  std::vector<RequestStreams> streams_;            // By shard.
  std::deque<std::pair<ShardId, Event>> pending_;  // Said, and not heard.
  std::map<uint64_t, Connected> connections_;      // By number.
  absl::flat_hash_map<Token, PartitionId> partition_of_;
  std::vector<OutboxLedger> ledgers_;  // By shard.
  ShareMembers members_;
  std::set<std::string> groups_;
  std::set<std::string> full_;
  struct Passing {
    ShardId shard = 0;
    OutboxRef record;
    OutboxLedger::Order order = 0;
  };
  std::map<Token, Passing> passing_;  // Records on their way to all partitions.
  Token passing_token_ = Token{1} << 48;
  bool asked_ = false;  // Something, because of what was heard.
  uint64_t heard_routes_ = 0;
};

}  // namespace storage

#endif  // TESTS_STORAGE_HOST_SIM_H_
