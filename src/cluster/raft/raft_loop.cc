#include "cluster/raft/raft_loop.h"

#include <algorithm>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "cluster/raft/log_marks.h"

namespace cluster {
namespace {

// In so many parts of what is cut at once it is known where in a log how many bytes are.
constexpr uint64_t kMarksPerCut = 16;
// What is kept for members that are away is known in about so many parts, as long as those are no
// larger than what is cut at once.
constexpr uint64_t kMarksMax = 4096;
// What a follower asks of its leader, or the answer, may be lost: it asks again after so many
// ticks.
constexpr uint32_t kReadTicks = 8;
constexpr uint32_t kOfferDoublingsMax = 4;
// What an entry that waits takes beside its data, about.
constexpr uint64_t kEntryMemory = 256;
// Numbers of reads: by replica, and from somewhere on, so that no two members and no two lives of
// one ask under the same.
constexpr int kReadBits = 40;
constexpr uint64_t kReadMask = (uint64_t{1} << kReadBits) - 1;

bool IsAlone(const ConfState& state) {
  return state.voters.size() == 1 && state.learners.empty() && state.voters_outgoing.empty();
}

}  // namespace

struct RaftLoop::Group final : EntryReader {
  struct Pending {
    Place place;
    uint64_t proposal = 0;
    std::string entry;
  };
  // Of a Ready with a snapshot: what waits until the state has it.
  struct Installing {
    uint64_t number = 0;
    Place place;
    ConfState conf_state;
    std::optional<HardState> hard_state;
    std::vector<std::string> data;
    std::vector<EntryView> entries;  // Of `data`.
    std::vector<Message> messages;
  };

  Group(GroupId the_id, ReplicaId the_replica, EntryStore& the_store, uint64_t mark_bytes)
      : id(the_id), replica(the_replica), store(the_store), marks(mark_bytes) {}

  absl::Status Read(uint64_t low, uint64_t high, uint64_t bytes_max,
                    absl::FunctionRef<void(const EntryView&)> take) override {
    return store.Read(id, low, high, bytes_max, take);
  }

  const GroupId id;
  const ReplicaId replica;
  EntryStore& store;
  std::unique_ptr<RaftGroup> raft;
  bool touched = false;
  bool stopped = false;

  Role role = Role::kFollower;
  uint64_t term = 0;
  ReplicaId leader = 0;
  HardState hard_state;  // As last written.
  ConfState conf_state;
  bool shared = false;              // There are other members.
  std::deque<uint64_t> members_at;  // Entries from which on there were others, since `begin`.

  std::deque<Proposal> to_propose;
  std::deque<Pending> pending;    // Proposed, by index.
  bool sync_wanted = false;       // By one of what was proposed and is in no write yet.
  std::vector<uint64_t> tickets;  // Reads not asked for yet.
  std::map<uint64_t, std::vector<uint64_t>> reads;
  uint32_t read_ticks = 0;  // Of a follower, since it asked.
  bool fit = true;          // To lead it: see SetFit.
  // To other members, while it is not.
  struct Offering {
    size_t count = 0;
    uint64_t ticks = 0;  // Since the last one.
    uint32_t doublings = 0;
    bool led = false;  // At the last tick.
  };
  Offering offering;
  bool LeadsForOthers() const { return !stopped && role == Role::kLeader && shared; }
  std::set<ReplicaId> snapshot_asked;  // In this leadership.

  // The last Ready in what is gathered, or written; 0: none. And what may leave after that.
  uint64_t gathering_number = 0;
  uint64_t writing_number = 0;
  std::vector<Message> gathering_messages;
  std::vector<Message> writing_messages;
  bool gathering_vote = false;  // A term or a vote is among it.
  bool writing_vote = false;
  std::optional<RoleChange> gathering_role;
  std::optional<RoleChange> writing_role;
  std::optional<Installing> installing;

  // Of the log, as it will be when all that is gathered is written.
  uint64_t begin = 0;
  uint64_t last = 0;
  uint64_t flushed = 0;
  uint64_t all_have = 0;  // As far as a leader has said.
  LogMarks marks;
};

RaftLoop::RaftLoop(RaftLoopOptions options, EntryStore& store)
    : options_(std::move(options)),
      mark_bytes_(std::clamp(options_.lagging_bytes_max / kMarksMax,
                             options_.cut_bytes_min / kMarksPerCut, options_.cut_bytes_min)),
      store_(store) {
  gathering_.batch = store_.NewBatch();
  last_read_ = base::Rng(options_.seed)() & kReadMask;
}

RaftLoop::~RaftLoop() = default;

// ---- Groups ------------------------------------------------------------------------------------

RaftLoop::Group* RaftLoop::Find(GroupId id) {
  const auto it = groups_.find(id);
  return it == groups_.end() || it->second->stopped ? nullptr : it->second.get();
}

void RaftLoop::Touch(Group& group) {
  if (std::exchange(group.touched, true)) return;
  touched_.push_back(group.id);
}

absl::Status RaftLoop::AddGroup(const GroupStart& start) {
  CHECK(!groups_.contains(start.group)) << "group " << start.group << " is there already";
  CHECK(start.applied == Place{} || start.applied.index >= kGroupBegin.index)
      << "a group begins at entry 5";
  auto group = std::make_unique<Group>(start.group, start.replica, store_, mark_bytes_);
  RaftGroupStart raft = {.conf_state = start.conf_state, .begin = start.applied};
  uint64_t bytes = 0;
  RETURN_IF_ERROR(Prepare(start, raft, *group, bytes));
  RaftGroupOptions options = options_.group;
  options.replica = start.replica;
  options.seed = start.group;
  ASSIGN_OR_RETURN(group->raft, RaftGroup::Create(options, raft, *group));
  group->term = raft.hard_state.term;
  group->hard_state = raft.hard_state;
  SetMembers(*group, raft.conf_state);
  group->begin = raft.begin.index;
  group->last = raft.last;
  group->marks.AddStored(group->begin, group->last, bytes);
  Touch(*group);
  groups_.emplace(start.group, std::move(group));
  return absl::OkStatus();
}

// What the log has and the state needs; or a log that begins where the state is.
absl::Status RaftLoop::Prepare(const GroupStart& start, RaftGroupStart& raft, Group& group,
                               uint64_t& bytes) {
  raft.applied = start.applied.index;
  bool restart = true;
  absl::StatusOr<EntryStore::Group> stored = store_.Load(start.group);
  if (!stored.ok() && !absl::IsNotFound(stored.status())) return stored.status();
  if (stored.ok()) {
    raft.hard_state = stored->hard_state;
    for (const ConfStateAt& conf : stored->conf_states) {
      if (conf.index > start.applied.index) break;  // It comes again with its entry.
      if (conf.index < start.members_at) continue;
      raft.conf_state = conf.state;
      group.members_at.push_back(conf.index);
    }
  }
  // With nothing applied it is a new member, and the log that of one that was here before.
  if (stored.ok() && start.applied != Place{}) {
    if (stored->begin.index > start.applied.index) {
      return absl::DataLossError(absl::StrCat("the log of group ", start.group,
                                              " begins behind entry ", stored->begin.index,
                                              ", but the state ends at ", start.applied.index));
    }
    uint64_t term = stored->begin.term;
    if (start.applied.index > stored->begin.index && start.applied.index <= stored->last) {
      RETURN_IF_ERROR(store_.Read(start.group, start.applied.index, start.applied.index + 1,
                                  std::numeric_limits<uint64_t>::max(),
                                  [&term](const EntryView& entry) { term = entry.place.term; }));
    }
    restart = start.applied.index > stored->last || term != start.applied.term;
  }
  if (!restart) {
    raft.begin = stored->begin;
    raft.last = stored->last;
    bytes = stored->bytes;
    return absl::OkStatus();
  }
  group.members_at = {start.applied.index};
  raft.last = start.applied.index;
  raft.hard_state.term = std::max(raft.hard_state.term, start.applied.term);
  raft.hard_state.commit = start.applied.index;
  gathering_.batch->Restart(start.group, start.applied, raft.conf_state);
  gathering_.batch->SetHardState(start.group, raft.hard_state);
  gathering_.any = gathering_.prompt = gathering_.sync = gathering_.votes = true;
  return absl::OkStatus();
}

void RaftLoop::RemoveGroup(GroupId id) {
  if (Group* const group = Find(id); group != nullptr) Remove(*group);
}

void RaftLoop::Remove(Group& group) {
  gathering_.batch->Remove(group.id);
  gathering_.any = gathering_.prompt = gathering_.sync = true;
  Stop(group, absl::NotFoundError("this node is no member of the group any more"));
}

bool RaftLoop::Healthy(Group& group, const absl::Status& status) {
  if (status.code() != absl::StatusCode::kInternal) return true;
  Stop(group, status);
  return false;
}

void RaftLoop::Stop(Group& group, const absl::Status& status) {
  if (std::exchange(group.stopped, true)) return;
  LoseLeadership(group);
  SetMembers(group, {.voters = {0}});
  events_.push_back(GroupStopped{.group = group.id, .status = status});
  Touch(group);
}

// ---- What comes --------------------------------------------------------------------------------

void RaftLoop::Tick() {
  write_ticks_ = writing_.batch == nullptr ? 0 : write_ticks_ + 1;
  const bool heartbeats = ++ticks_ % options_.group.heartbeat_ticks == 0;
  for (auto& [id, group] : groups_) {
    if (group->stopped || !Healthy(*group, group->raft->Tick(heartbeats))) continue;
    Touch(*group);
    if (group->role != Role::kLeader && !group->reads.empty() && ++group->read_ticks >= kReadTicks)
      AskReadsAgain(*group);
    CutIfDue(*group);
    OfferIfUnfit(*group, /*stuck=*/write_ticks_ >= options_.unfit_ticks);
  }
  write_late_ = gathering_.any;
}

absl::Status RaftLoop::OnMessage(GroupId id, std::string_view message, uint64_t all_have) {
  Group* group = Find(id);
  if (group == nullptr) return absl::NotFoundError(absl::StrCat("no group ", id, " here"));
  Touch(*group);
  // True for ever, whoever said it: what all members have is committed, and in every later log.
  group->all_have = std::max(group->all_have, std::min(all_have, group->last));
  const uint64_t unwritten = gathering_.bytes + gathering_.entries * kEntryMemory;
  const bool takes_entries = unwritten < options_.unwritten_bytes_max;
  const absl::Status status = group->raft->Step(message, takes_entries);
  if (!Healthy(*group, status)) return status;
  const bool is_refused = absl::IsInvalidArgument(status) || absl::IsUnimplemented(status);
  return is_refused ? status : absl::OkStatus();
}

void RaftLoop::Submit(Proposal proposal) {
  CHECK(!proposal.entry.empty()) << "an empty entry is a leader's first";
  CHECK(proposal.number != 0) << "0 is nobody's proposal";
  Group* group = Find(proposal.group);
  const bool fits = proposal.entry.size() <= options_.group.entry_bytes_max;
  if (group == nullptr || !fits || (proposal.term != 0 && proposal.term != group->term)) {
    events_.push_back(NotCommitted{proposal.group, proposal.number, Fate::kSurely});
    return;
  }
  group->to_propose.push_back(std::move(proposal));
  Touch(*group);
}

void RaftLoop::ReadBarrier(GroupId id, uint64_t ticket) {
  Group* group = Find(id);
  if (group == nullptr) {
    events_.push_back(NotReadable{id, ticket});
    return;
  }
  group->tickets.push_back(ticket);
  Touch(*group);
}

void RaftLoop::Flushed(GroupId id, uint64_t index) {
  Group* group = Find(id);
  if (group == nullptr) return;
  group->flushed = std::max(group->flushed, index);
  CutIfDue(*group);
}

void RaftLoop::OfferSnapshot(GroupId id, uint64_t index, std::string_view data) {
  Group* group = Find(id);
  if (group == nullptr) return;
  group->snapshot_asked.clear();  // If it was too old, or came too late, it is asked for again.
  (void)Healthy(*group, group->raft->OfferSnapshot(index, data));
}

void RaftLoop::ReportSnapshot(GroupId id, ReplicaId to, bool arrived) {
  Group* group = Find(id);
  if (group == nullptr) return;
  (void)Healthy(*group, group->raft->ReportSnapshot(to, arrived));
  Touch(*group);
}

void RaftLoop::ReportUnreachable(GroupId id, ReplicaId to) {
  Group* group = Find(id);
  if (group != nullptr) (void)Healthy(*group, group->raft->ReportUnreachable(to));
}

void RaftLoop::TellCommitted(GroupId id) {
  Group* group = Find(id);
  if (group == nullptr || group->role != Role::kLeader) return;
  Touch(*group);
  (void)Healthy(*group, group->raft->TellCommitted());
}

absl::Status RaftLoop::TransferLeadership(GroupId id, ReplicaId to) {
  Group* group = Find(id);
  if (group == nullptr) return absl::NotFoundError(absl::StrCat("no group ", id, " here"));
  Touch(*group);
  const absl::Status status = group->raft->TransferTo(to);
  (void)Healthy(*group, status);
  return status;
}

// To a member that has all of its log, if there is one now. True: one has been told.
bool RaftLoop::Offer(Group& group) {
  if (!group.LeadsForOthers()) return false;
  const absl::StatusOr<RaftGroup::Status> status = group.raft->GetStatus();
  if (!status.ok()) return false;
  std::vector<ReplicaId> may;
  for (const RaftGroup::Progress& member : status->progress) {
    if (member.replica != group.leader && status->MayTakeOver(member))
      may.push_back(member.replica);
  }
  // Not all to the same one.
  return !may.empty() &&
         TransferLeadership(group.id, may[(group.id + group.offering.count) % may.size()]).ok();
}

size_t RaftLoop::YieldLeaderships() {
  for (auto& [id, group] : groups_) (void)Offer(*group);
  return static_cast<size_t>(std::count_if(groups_.begin(), groups_.end(), [](const auto& each) {
    return each.second->LeadsForOthers();
  }));
}

void RaftLoop::SetFit(GroupId id, bool fit) {
  if (Group* const group = Find(id); group != nullptr) {
    group->fit = fit;
    OfferIfUnfit(*group, /*stuck=*/false);
  }
}

// Who has not taken it, or has given it back, is not asked again before the others are. If it comes
// back at once none of them is fit either: then it is kept for ever longer, or it would go round
// for ever, and nobody lead for as long as it takes to become fit.
void RaftLoop::OfferIfUnfit(Group& group, bool stuck) {
  if (group.fit && !stuck) {
    group.offering = {};
    return;
  }
  Group::Offering& offering = group.offering;
  const auto rest = [&] { return uint64_t{options_.unfit_ticks} << offering.doublings; };
  ++offering.ticks;
  const bool leads = group.LeadsForOthers();
  if (leads && !offering.led && offering.count > 0) {  // It has come back.
    if (offering.ticks < options_.unfit_ticks) {
      offering.doublings = std::min(offering.doublings + 1, kOfferDoublingsMax);
    } else if (offering.ticks >= rest() && offering.doublings > 0) {
      --offering.doublings;
    }
  }
  offering.led = leads;
  const bool rests = offering.count > 0 && offering.ticks <= rest();
  if (rests || !Offer(group)) return;
  ++offering.count;
  offering.ticks = 0;
}

absl::Status RaftLoop::ChangeMembers(GroupId id, absl::Span<const MemberChange> changes) {
  Group* group = Find(id);
  if (group == nullptr) return absl::NotFoundError(absl::StrCat("no group ", id, " here"));
  Touch(*group);
  const absl::Status status = group->raft->ProposeMembers(changes).status();
  (void)Healthy(*group, status);
  return status;
}

absl::Status RaftLoop::Campaign(GroupId id) {
  Group* group = Find(id);
  if (group == nullptr) return absl::NotFoundError(absl::StrCat("no group ", id, " here"));
  Touch(*group);
  const absl::Status status = group->raft->Campaign();
  (void)Healthy(*group, status);
  return status;
}

absl::StatusOr<RaftGroup::Status> RaftLoop::GetStatus(GroupId id) {
  Group* group = Find(id);
  if (group == nullptr) return absl::NotFoundError(absl::StrCat("no group ", id, " here"));
  return group->raft->GetStatus();
}

// ---- The round ---------------------------------------------------------------------------------

void RaftLoop::Run() {
  while (!touched_.empty()) {
    for (const GroupId id : std::exchange(touched_, {})) {
      const auto it = groups_.find(id);
      if (it == groups_.end()) continue;
      Group& group = *it->second;
      group.touched = false;
      // What came may have made another leader; that counts before what is proposed.
      TakeReadies(group);
      Propose(group);
      AskReads(group);
      TakeReadies(group);
      if (group.stopped) groups_.erase(it);
    }
  }
}

void RaftLoop::Propose(Group& group) {
  while (!group.to_propose.empty() && !group.stopped) {
    std::vector<std::string_view> entries;
    uint64_t bytes = 0;
    for (const Proposal& proposal : group.to_propose) {
      bytes += proposal.entry.size();
      if (!entries.empty() && bytes > options_.group.message_bytes_max) break;
      entries.push_back(proposal.entry);
    }
    const absl::StatusOr<Place> first = group.raft->Propose(entries);
    if (!Healthy(group, first.status())) return;
    // Too much is under way, or another is about to lead: that passes, or ends with a new role.
    if (absl::IsResourceExhausted(first.status()) || absl::IsUnavailable(first.status())) return;
    for (size_t i = 0; i < entries.size(); ++i) {
      Proposal& proposal = group.to_propose.front();
      if (first.ok()) {
        group.sync_wanted = group.sync_wanted || proposal.sync;
        group.pending.push_back(
            {{first->index + i, first->term}, proposal.number, std::move(proposal.entry)});
      } else {
        events_.push_back(NotCommitted{group.id, proposal.number, Fate::kSurely});
      }
      group.to_propose.pop_front();
    }
  }
}

void RaftLoop::AskReads(Group& group) {
  if (group.tickets.empty() || group.stopped) return;
  last_read_ = (last_read_ + 1) & kReadMask;
  const uint64_t context = group.replica << kReadBits | last_read_;
  const absl::Status status = group.raft->ReadIndex(context);
  // There is no leader, or nothing of its term is committed yet: when there is, there is a Ready,
  // and this is tried again.
  if (!Healthy(group, status) || absl::IsUnavailable(status)) return;
  if (status.ok()) {
    group.read_ticks = 0;
    group.reads[context] = std::exchange(group.tickets, {});
    return;
  }
  for (const uint64_t ticket : std::exchange(group.tickets, {})) {
    events_.push_back(NotReadable{group.id, ticket});
  }
}

// The earlier answers, if they still come, are nobody's.
void RaftLoop::AskReadsAgain(Group& group) {
  for (const auto& [context, tickets] : std::exchange(group.reads, {}))
    group.tickets.insert(group.tickets.end(), tickets.begin(), tickets.end());
  group.read_ticks = 0;
}

void RaftLoop::TakeReadies(Group& group) {
  while (!group.stopped && group.raft->HasReady()) {
    const absl::StatusOr<const RaftGroup::Ready*> ready = group.raft->TakeReady();
    if (!ready.ok()) return Stop(group, ready.status());
    OnReady(group, **ready);
    Touch(group);
  }
  if (group.stopped) return;
  const ReplicaId wants = group.raft->TakeSnapshotWanted();
  if (wants == 0 || group.role != Role::kLeader) return;
  if (!group.snapshot_asked.insert(wants).second) return;
  SnapshotWanted wanted{.group = group.id, .to = wants, .begins = group.begin};
  const absl::StatusOr<RaftGroup::Status> status = group.raft->GetStatus();
  if (!status.ok()) return;
  for (const RaftGroup::Progress& member : status->progress) {
    if (member.replica != wants) continue;
    // One that is probed has said where its log ends, if this leader has never matched it.
    const bool probed = member.state == RaftGroup::Progress::State::kProbe;
    wanted.has = probed ? std::max(member.matched, member.next - 1) : member.matched;
  }
  events_.push_back(wanted);
}

// The views of `ready` end with the next call for the group.
void RaftLoop::OnReady(Group& group, const RaftGroup::Ready& ready) {
  if (ready.has_snapshot) {
    OnRole(group, ready);
    return KeepSnapshot(group, ready);
  }
  const bool new_term =
      ready.hard_state != nullptr && ready.hard_state->term != group.hard_state.term;
  if (ready.hard_state != nullptr) WriteState(group, *ready.hard_state);
  if (!ready.entries.empty()) WriteEntries(group, ready.entries);
  for (const ConfStateAt& conf : ready.conf_states) {
    gathering_.batch->SetConfState(group.id, conf);
    gathering_.any = gathering_.prompt = gathering_.sync = gathering_.votes = true;
    SetMembers(group, conf.state);
    group.members_at.push_back(conf.index);
    events_.push_back(MembersChanged{group.id, conf.index, conf.state});
  }
  OnCommitted(group, ready);
  OnRole(group, ready);
  // Who votes alone leads at once. After a crash it must not lead in the same term again.
  if (new_term && group.role == Role::kLeader) {
    group.gathering_role = std::get<RoleChange>(events_.back());
    events_.pop_back();
  }
  const uint64_t number = ready.number;
  const bool removed = ready.removed;
  // What is this member's alone may be lost with it, if whoever proposed it says so.
  if (ready.must_sync) {
    Join(group, number, group.shared || new_term || std::exchange(group.sync_wanted, false));
  }
  if (group.gathering_number != 0) {
    group.gathering_number = number;
    Send(group, ready, group.gathering_messages);
  } else if (group.writing_number != 0) {
    group.writing_number = number;
    Send(group, ready, group.writing_messages);
  } else {
    Send(group, ready, messages_);
    if (!removed && !Healthy(group, group.raft->Persisted(number))) return;
  }
  if (removed) Remove(group);
}

void RaftLoop::Join(Group& group, uint64_t number, bool sync) {
  gathering_.any = gathering_.prompt = true;
  gathering_.sync = gathering_.sync || sync;
  if (group.gathering_number == 0) gathering_.groups.push_back(group.id);
  group.gathering_number = number;
}

void RaftLoop::SetMembers(Group& group, ConfState state) {
  shared_groups_ -= group.shared ? 1 : 0;
  group.conf_state = std::move(state);
  group.shared = !IsAlone(group.conf_state);
  shared_groups_ += group.shared ? 1 : 0;
}

// Of a member alone all that is in its log is committed; what it has of a commit index is less than
// that with every entry anyway.
void RaftLoop::WriteState(Group& group, const HardState& state) {
  const bool votes = state.term != group.hard_state.term || state.vote != group.hard_state.vote;
  if (votes || group.shared) {
    gathering_.batch->SetHardState(group.id, state);
    gathering_.any = true;
  }
  if (votes) gathering_.votes = group.gathering_vote = true;
  group.hard_state = state;
}

void RaftLoop::WriteEntries(Group& group, absl::Span<const EntryView> entries) {
  gathering_.batch->Append(group.id, entries, group.last);
  gathering_.any = true;
  gathering_.appended.push_back(
      {group.id, entries.front().place.index, entries.back().place.index});
  uint64_t bytes = 0;
  for (const EntryView& entry : entries) bytes += entry.data.size();
  gathering_.entries += entries.size();
  gathering_.bytes += bytes;
  group.last = entries.back().place.index;
  group.marks.Append(entries.front().place.index, group.last,
                     bytes + entries.size() * EntryStore::kEntryOverhead);
}

// That it follows, a member may say while it writes entries: it says nothing of them. Else a slow
// disk would look like a member that is gone. Not while its term is being written.
void RaftLoop::Send(Group& group, const RaftGroup::Ready& ready, std::vector<Message>& held) {
  const bool votes = group.gathering_vote || group.writing_vote;
  uint64_t all_have = 0;
  for (const RaftGroup::Message& message : ready.messages) {
    const bool follows = message.kind == RaftGroup::kHeartbeatResponse && !votes;
    std::vector<Message>& out = message.after_persist && !follows ? held : messages_;
    const bool tells = message.kind == RaftGroup::kHeartbeat && group.role == Role::kLeader;
    if (tells && all_have == 0) all_have = AllHave(group);
    out.push_back({group.id, message.to, message.kind, std::string(message.data),
                   tells ? all_have : uint64_t{0}});
  }
}

void RaftLoop::OnCommitted(Group& group, const RaftGroup::Ready& ready) {
  if (!ready.committed.empty()) {
    Committed committed = {.group = group.id, .entries = {}};
    committed.entries.reserve(ready.committed.size());
    for (const EntryView& entry : ready.committed) {
      CommittedEntry& out = committed.entries.emplace_back();
      out.place = entry.place;
      const bool mine =
          !group.pending.empty() && group.pending.front().place.index == entry.place.index;
      // By term too: under the index may be what another leader put there.
      if (mine && group.pending.front().place == entry.place) {
        out.proposal = group.pending.front().proposal;
        out.entry = std::move(group.pending.front().entry);
      } else {
        if (entry.kind == EntryKind::kCommand) out.entry = entry.data;
        if (mine) {
          const uint64_t lost = group.pending.front().proposal;
          events_.push_back(NotCommitted{group.id, lost, Fate::kSurely});
        }
      }
      if (mine) group.pending.pop_front();
    }
    events_.push_back(std::move(committed));
  }
  for (const RaftGroup::ReadState& read : ready.read_states) {
    const auto it = group.reads.find(read.context);
    if (it == group.reads.end()) continue;
    for (const uint64_t ticket : it->second) {
      events_.push_back(Readable{group.id, ticket, read.index});
    }
    group.reads.erase(it);
  }
}

void RaftLoop::OnRole(Group& group, const RaftGroup::Ready& ready) {
  const bool same_role = ready.role == group.role && ready.term == group.term;
  if (same_role && ready.leader == group.leader) return;
  if (group.role == Role::kLeader && !same_role) LoseLeadership(group);
  AskReadsAgain(group);
  RoleChange change = {.group = group.id,
                       .role = ready.role,
                       .term = ready.term,
                       .leader = ready.leader,
                       .applied_before_leading = 0};
  group.role = ready.role;
  group.term = ready.term;
  group.leader = ready.leader;
  if (ready.role == Role::kLeader) {
    // Its first entry comes with the Ready that says that it leads.
    for (const EntryView& entry : ready.entries) {
      if (entry.place.term != ready.term) continue;
      change.applied_before_leading = entry.place.index;
      break;
    }
  }
  events_.push_back(change);
}

void RaftLoop::LoseLeadership(Group& group) {
  for (const Group::Pending& pending : std::exchange(group.pending, {})) {
    events_.push_back(NotCommitted{group.id, pending.proposal, Fate::kUnknown});
  }
  for (const Proposal& proposal : std::exchange(group.to_propose, {})) {
    events_.push_back(NotCommitted{group.id, proposal.number, Fate::kSurely});
  }
  AskReadsAgain(group);
  for (const uint64_t ticket : std::exchange(group.tickets, {})) {
    events_.push_back(NotReadable{group.id, ticket});
  }
  group.snapshot_asked.clear();
  group.gathering_role.reset();
  group.writing_role.reset();
}

// ---- Snapshots, and the log's beginning --------------------------------------------------------

// The log must not say that it begins at a snapshot before the state has it.
void RaftLoop::KeepSnapshot(Group& group, const RaftGroup::Ready& ready) {
  Group::Installing& installing = group.installing.emplace();
  installing.number = ready.number;
  installing.place = ready.snapshot;
  installing.conf_state = ready.snapshot_conf_state;
  if (ready.hard_state != nullptr) installing.hard_state = *ready.hard_state;
  installing.data.reserve(ready.entries.size());
  for (const EntryView& entry : ready.entries) {
    installing.data.emplace_back(entry.data);
    installing.entries.push_back({entry.place, entry.kind, installing.data.back()});
  }
  Send(group, ready, installing.messages);
  events_.push_back(InstallSnapshot{.group = group.id,
                                    .place = ready.snapshot,
                                    .data = std::string(ready.snapshot_data),
                                    .conf_state = ready.snapshot_conf_state});
}

void RaftLoop::Installed(GroupId id, Place place) {
  Group* group = Find(id);
  if (group == nullptr || !group->installing.has_value()) return;
  Group::Installing installing = *std::exchange(group->installing, std::nullopt);
  CHECK(installing.place == place) << "another snapshot was to be installed";
  gathering_.batch->Restart(id, place, installing.conf_state);
  gathering_.votes = true;
  SetMembers(*group, std::move(installing.conf_state));
  group->begin = group->last = group->flushed = place.index;
  group->marks.Restart(place.index);
  group->members_at = {place.index};
  WriteState(*group, installing.hard_state.value_or(group->hard_state));
  if (!installing.entries.empty()) WriteEntries(*group, installing.entries);
  Join(*group, installing.number, /*sync=*/true);
  std::move(installing.messages.begin(), installing.messages.end(),
            std::back_inserter(group->gathering_messages));
}

// How far the log may be cut: what is flushed and needed by no member, or by one that lags so far
// that it has to take a snapshot.
uint64_t RaftLoop::CutLimit(Group& group) {
  if (!group.shared) return group.flushed;
  const uint64_t needed_after = group.marks.LastWithBehind(options_.lagging_bytes_max).index;
  return std::min(group.flushed, std::max({needed_after, group.all_have, AllHave(group)}));
}

// Of a leader: how far every member is known to have the log. 0: it leads no more, and knows of no
// member what it has (what the group is just now, not what it was when the last Ready was taken).
uint64_t RaftLoop::AllHave(Group& group) {
  const absl::StatusOr<RaftGroup::Status> status = group.raft->GetStatus();
  if (!status.ok() || status->role != Role::kLeader || status->progress.empty()) return 0;
  uint64_t matched = std::numeric_limits<uint64_t>::max();
  for (const RaftGroup::Progress& member : status->progress)
    matched = std::min(matched, member.matched);
  return matched;
}

void RaftLoop::CutIfDue(Group& group) {
  if (group.flushed <= group.begin) return;
  if (group.marks.bytes() < options_.cut_bytes_min) return;
  const LogMarks::Mark cut = group.marks.LastUpTo(CutLimit(group));
  if (cut.index <= group.begin || group.marks.BytesUpTo(cut) < options_.cut_bytes_min) return;
  const absl::StatusOr<Place> begin = group.raft->Compact(cut.index);
  if (!Healthy(group, begin.status()) || !begin.ok()) return;
  while (group.members_at.size() > 1 && group.members_at[1] <= begin->index) {
    group.members_at.pop_front();
  }
  gathering_.batch->Cut(group.id, *begin, group.members_at.front());
  gathering_.any = true;
  group.begin = begin->index;
  group.marks.Cut(cut);
}

// ---- Writing -----------------------------------------------------------------------------------

std::optional<RaftLoop::Write> RaftLoop::BeginWrite() {
  if (writing_.batch != nullptr || !gathering_.any) return std::nullopt;
  // A commit index alone, or a cut, goes with the next write; once a tick it goes alone.
  if (!gathering_.prompt && !write_late_) return std::nullopt;
  write_late_ = false;
  write_ticks_ = 0;
  writing_ = std::exchange(gathering_, {});
  gathering_.batch = store_.NewBatch();
  for (const GroupId id : writing_.groups) {
    const auto it = groups_.find(id);
    if (it == groups_.end()) continue;
    Group& group = *it->second;
    group.writing_number = std::exchange(group.gathering_number, 0);
    group.writing_messages = std::exchange(group.gathering_messages, {});
    group.writing_vote = std::exchange(group.gathering_vote, false);
    group.writing_role = std::exchange(group.gathering_role, std::nullopt);
  }
  return Write{.batch = writing_.batch.get(),
               .sync = writing_.sync ? EntryStore::Sync::kYes : EntryStore::Sync::kNo,
               .votes = writing_.votes,
               .entries = writing_.entries,
               .bytes = writing_.bytes,
               .appended = writing_.appended};
}

void RaftLoop::OnWritten() {
  CHECK(writing_.batch != nullptr) << "nothing was being written";
  for (const GroupId id : std::exchange(writing_, {}).groups) {
    Group* group = Find(id);
    if (group == nullptr) continue;
    // raft-rs hears of it before anyone can answer what leaves now: a vote that came back first
    // would make a leader whose log is not known to be on the disk.
    const uint64_t number = std::exchange(group->writing_number, 0);
    if (!Healthy(*group, group->raft->Persisted(number))) continue;
    for (Message& message : std::exchange(group->writing_messages, {})) {
      messages_.push_back(std::move(message));
    }
    group->writing_vote = false;
    if (group->writing_role.has_value()) events_.push_back(*group->writing_role);
    group->writing_role.reset();
    Touch(*group);
  }
}

}  // namespace cluster
