#include "cluster/raft/raft_group.h"

#include <algorithm>
#include <array>
#include <string>

#include "cluster/raft/raft.h"

namespace cluster {
namespace {

MqttdRaftBytes ToBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string_view ToView(MqttdRaftBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data), bytes.size};
}

MqttdRaftNumbers ToNumbers(const std::vector<uint64_t>& numbers) {
  return {numbers.data(), numbers.size()};
}

// In order: raft-rs keeps them in hash sets, and all members are to say the same.
std::vector<uint64_t> ToVector(MqttdRaftNumbers numbers) {
  std::vector<uint64_t> sorted(numbers.data, numbers.data + numbers.count);
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

ConfState ToConfState(const MqttdRaftConfState& raw) {
  return {.voters = ToVector(raw.voters),
          .learners = ToVector(raw.learners),
          .voters_outgoing = ToVector(raw.voters_outgoing),
          .learners_next = ToVector(raw.learners_next),
          .auto_leave = raw.auto_leave};
}

MqttdRaftConfState ToRaw(const ConfState& state) {
  return {.voters = ToNumbers(state.voters),
          .learners = ToNumbers(state.learners),
          .voters_outgoing = ToNumbers(state.voters_outgoing),
          .learners_next = ToNumbers(state.learners_next),
          .auto_leave = state.auto_leave};
}

EntryView ToEntry(const MqttdRaftEntry& raw) {
  return {.place = {.index = raw.place.index, .term = raw.place.term},
          .kind = static_cast<EntryKind>(raw.kind),
          .data = ToView(raw.data)};
}

absl::StatusCode ToCode(int code) {
  switch (code) {
    case MQTTD_RAFT_NOT_LEADER:
    case MQTTD_RAFT_REFUSED:
      return absl::StatusCode::kFailedPrecondition;
    case MQTTD_RAFT_FULL:
      return absl::StatusCode::kResourceExhausted;
    case MQTTD_RAFT_BUSY:
    case MQTTD_RAFT_INSTALLING:
      return absl::StatusCode::kUnavailable;
    case MQTTD_RAFT_INVALID:
    case MQTTD_RAFT_UNKNOWN_PEER:
      return absl::StatusCode::kInvalidArgument;
    case MQTTD_RAFT_REMOVED:
      return absl::StatusCode::kNotFound;
    case MQTTD_RAFT_NOT_INSTALLED:
      return absl::StatusCode::kUnimplemented;
    default:
      return absl::StatusCode::kInternal;
  }
}

int Fetch(void* context, uint64_t low, uint64_t high, uint64_t bytes_max, MqttdRaftSink* sink) {
  auto& reader = *static_cast<EntryReader*>(context);
  bool taken = true;
  const absl::Status status = reader.Read(low, high, bytes_max, [&](const EntryView& entry) {
    const MqttdRaftEntry raw = {.place = {entry.place.index, entry.place.term},
                                .kind = static_cast<uint8_t>(entry.kind),
                                .data = ToBytes(entry.data)};
    taken = mqttd_raft_sink(sink, &raw) && taken;
  });
  if (status.ok() && taken) return MQTTD_RAFT_FETCHED;
  const bool passes = !status.ok() && !absl::IsDataLoss(status);
  return passes ? MQTTD_RAFT_FETCH_LATER : MQTTD_RAFT_FETCH_LOST;
}

}  // namespace

struct RaftGroup::Raw {
  ~Raw() {
    if (group != nullptr) mqttd_raft_free(group);
  }
  MqttdRaftGroup* group = nullptr;
  MqttdRaftReady ready = {};
  HardState hard_state;
};

RaftGroup::RaftGroup() : raw_(std::make_unique<Raw>()) {}
RaftGroup::~RaftGroup() = default;

absl::StatusOr<std::unique_ptr<RaftGroup>> RaftGroup::Create(const RaftGroupOptions& options,
                                                             const RaftGroupStart& start,
                                                             EntryReader& reader) {
  auto group = std::unique_ptr<RaftGroup>(new RaftGroup());
  const MqttdRaftOptions raw_options = {
      .node = options.replica,
      .seed = options.seed,
      .election_ticks = options.election_ticks,
      .heartbeat_ticks = options.heartbeat_ticks,
      .message_bytes_max = options.message_bytes_max,
      .messages_in_flight_max = options.messages_in_flight_max,
      .uncommitted_bytes_max = options.uncommitted_bytes_max,
      .committed_bytes_per_ready_max = options.committed_bytes_per_ready_max,
      .entry_bytes_max = options.entry_bytes_max,
      .recent_bytes_max = options.recent_bytes_max,
      .installs_snapshots = options.installs_snapshots};
  const MqttdRaftStart raw_start = {
      .hard_state = {start.hard_state.term, start.hard_state.vote, start.hard_state.commit},
      .conf_state = ToRaw(start.conf_state),
      .begin = {start.begin.index, start.begin.term},
      .last = start.last,
      .applied = start.applied,
      .fetch = &Fetch,
      .fetch_context = &reader};
  std::array<char, 512> error = {};
  const int code =
      mqttd_raft_new(&raw_options, &raw_start, error.data(), error.size(), &group->raw_->group);
  if (code != MQTTD_RAFT_OK) return absl::Status(ToCode(code), error.data());
  return group;
}

absl::Status RaftGroup::ToStatus(int code) const {
  if (code == MQTTD_RAFT_OK) return absl::OkStatus();
  return absl::Status(ToCode(code), std::string(ToView(mqttd_raft_error(raw_->group))));
}

absl::Status RaftGroup::Tick(bool heartbeats) {
  return ToStatus(mqttd_raft_tick(raw_->group, heartbeats));
}

absl::Status RaftGroup::Step(std::string_view message, bool takes_entries) {
  return ToStatus(mqttd_raft_step(raw_->group, ToBytes(message), takes_entries));
}

absl::StatusOr<Place> RaftGroup::Propose(absl::Span<const std::string_view> entries) {
  std::vector<MqttdRaftBytes> raw;
  raw.reserve(entries.size());
  for (const std::string_view entry : entries) raw.push_back(ToBytes(entry));
  MqttdRaftPlace first = {};
  const int code = mqttd_raft_propose(raw_->group, raw.data(), raw.size(), &first);
  if (code != MQTTD_RAFT_OK) return ToStatus(code);
  return Place{.index = first.index, .term = first.term};
}

absl::StatusOr<Place> RaftGroup::ProposeMembers(absl::Span<const MemberChange> changes) {
  std::vector<MqttdRaftMemberChange> raw;
  for (const MemberChange& change : changes) {
    raw.push_back({.kind = static_cast<uint8_t>(change.kind), .node = change.replica});
  }
  MqttdRaftPlace at = {};
  const int code = mqttd_raft_propose_members(raw_->group, raw.data(), raw.size(), &at);
  if (code != MQTTD_RAFT_OK) return ToStatus(code);
  return Place{.index = at.index, .term = at.term};
}

absl::Status RaftGroup::ReadIndex(uint64_t context) {
  return ToStatus(mqttd_raft_read_index(raw_->group, context));
}

bool RaftGroup::HasReady() const { return mqttd_raft_has_ready(raw_->group); }

absl::StatusOr<const RaftGroup::Ready*> RaftGroup::TakeReady() {
  MqttdRaftReady& raw = raw_->ready;
  if (const int code = mqttd_raft_ready(raw_->group, &raw); code != MQTTD_RAFT_OK) {
    return ToStatus(code);
  }
  ready_.number = raw.number;
  ready_.role = static_cast<Role>(raw.role);
  ready_.term = raw.term;
  ready_.leader = raw.leader;
  ready_.must_sync = raw.must_sync;
  raw_->hard_state = {raw.hard_state.term, raw.hard_state.vote, raw.hard_state.commit};
  ready_.hard_state = raw.has_hard_state ? &raw_->hard_state : nullptr;
  ready_.entries.clear();
  for (size_t i = 0; i < raw.entries_count; ++i) ready_.entries.push_back(ToEntry(raw.entries[i]));
  ready_.committed.clear();
  for (size_t i = 0; i < raw.committed_count; ++i) {
    ready_.committed.push_back(ToEntry(raw.committed[i]));
  }
  ready_.conf_states.clear();
  for (size_t i = 0; i < raw.conf_states_count; ++i) {
    ready_.conf_states.push_back(
        {.index = raw.conf_states[i].index, .state = ToConfState(raw.conf_states[i].state)});
  }
  ready_.messages.clear();
  for (size_t i = 0; i < raw.messages_count; ++i) {
    const MqttdRaftMessage& message = raw.messages[i];
    ready_.messages.push_back({.to = message.to,
                               .kind = message.kind,
                               .after_persist = message.after_persist,
                               .data = ToView(message.data)});
  }
  ready_.read_states.clear();
  for (size_t i = 0; i < raw.read_states_count; ++i) {
    ready_.read_states.push_back(
        {.context = raw.read_states[i].context, .index = raw.read_states[i].index});
  }
  ready_.has_snapshot = raw.has_snapshot;
  if (raw.has_snapshot) {
    ready_.snapshot = {.index = raw.snapshot.index, .term = raw.snapshot.term};
    ready_.snapshot_conf_state = ToConfState(raw.snapshot_conf_state);
    ready_.snapshot_data = ToView(raw.snapshot_data);
  }
  ready_.removed = raw.removed;
  return &ready_;
}

absl::Status RaftGroup::Persisted(uint64_t number) {
  return ToStatus(mqttd_raft_persisted(raw_->group, number));
}

absl::StatusOr<Place> RaftGroup::Compact(uint64_t index) {
  MqttdRaftPlace begin = {};
  const int code = mqttd_raft_compact(raw_->group, index, &begin);
  if (code != MQTTD_RAFT_OK) return ToStatus(code);
  return Place{.index = begin.index, .term = begin.term};
}

ReplicaId RaftGroup::TakeSnapshotWanted() { return mqttd_raft_take_snapshot_wanted(raw_->group); }

absl::Status RaftGroup::OfferSnapshot(uint64_t index, std::string_view data) {
  return ToStatus(mqttd_raft_offer_snapshot(raw_->group, index, ToBytes(data)));
}

absl::Status RaftGroup::ReportSnapshot(ReplicaId to, bool arrived) {
  return ToStatus(mqttd_raft_report_snapshot(raw_->group, to, arrived));
}

absl::Status RaftGroup::ReportUnreachable(ReplicaId to) {
  return ToStatus(mqttd_raft_report_unreachable(raw_->group, to));
}

absl::Status RaftGroup::TellCommitted() { return ToStatus(mqttd_raft_tell_committed(raw_->group)); }

absl::Status RaftGroup::TransferTo(ReplicaId to) {
  return ToStatus(mqttd_raft_transfer(raw_->group, to));
}

absl::Status RaftGroup::Campaign() { return ToStatus(mqttd_raft_campaign(raw_->group)); }

absl::StatusOr<RaftGroup::Status> RaftGroup::GetStatus() {
  MqttdRaftStatus raw = {};
  if (const int code = mqttd_raft_status(raw_->group, &raw); code != MQTTD_RAFT_OK) {
    return ToStatus(code);
  }
  Status status = {.role = static_cast<Role>(raw.role),
                   .term = raw.term,
                   .leader = raw.leader,
                   .commit = raw.commit,
                   .last = raw.last,
                   .leads_current_term = raw.leads_current_term,
                   .progress = {}};
  for (size_t i = 0; i < raw.progress_count; ++i) {
    const MqttdRaftProgress& member = raw.progress[i];
    status.progress.push_back({.replica = member.node,
                               .matched = member.matched,
                               .next = member.next,
                               .state = static_cast<Progress::State>(member.state),
                               .recently_active = member.recently_active});
  }
  return status;
}

}  // namespace cluster
