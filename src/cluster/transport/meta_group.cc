#include "cluster/transport/meta_group.h"

#include <pthread.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/inbox.h"
#include "base/log.h"
#include "mqttd/cluster/v1/link.pb.h"
#include "mqttd/cluster/v1/members.pb.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;

constexpr absl::Duration kTurn = absl::Milliseconds(100);
constexpr absl::Duration kJoinAnsweredWithin = absl::Seconds(2);
// So often a node without a replica asks whether it has missed something.
constexpr absl::Duration kMembersAskedEvery = absl::Milliseconds(500);
constexpr absl::Duration kForgetAskedEvery = absl::Milliseconds(500);
constexpr absl::Duration kForgetAnsweredWithin = absl::Seconds(5);

struct FromLog {
  LogEvent event;
};
struct FromNode {
  NodeLife from;
  ControlItem what;  // None of Raft.
};
struct JoinAsked {
  pb::JoinRequest request;
  std::function<void(const pb::JoinResponse&)> answer;
};
struct JoinAnswered {
  pb::JoinResponse response;
};
struct LifeOver {
  Incarnation through;
};
struct EndAsked {};
struct ToForget {
  NodeId node;
  std::function<void(absl::Status)> done;
};
// Outlives the group in the hands of calls that are under way.
using Inbox = base::Inbox<
    std::variant<FromLog, FromNode, JoinAsked, JoinAnswered, LifeOver, EndAsked, ToForget>>;

class RealMetaGroup final : public MetaGroup {
 public:
  RealMetaGroup(MetaGroupOptions options, Parts parts)
      : id_(options.node),
        group_(options.group),
        self_(options.self),
        cluster_id_(std::move(options.cluster_id)),
        ask_at_(std::move(options.ask_at)),
        parts_(std::move(parts)),
        inbox_(std::make_shared<Inbox>()),
        node_(options.leases, std::move(options.self), std::move(options.members), options.applied),
        incarnation_(self_.incarnation()) {
    ShowMembers();
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "meta-group");
      Run();
    });
  }
  ~RealMetaGroup() override { Stop(); }

  void OnLogEvent(LogEvent event) override { inbox_->Post(FromLog{std::move(event)}); }
  void OnControl(NodeLife from, const ControlItem& item) override {
    if (!std::holds_alternative<RaftItem>(item)) inbox_->Post(FromNode{from, item});
  }
  void OnLifeOver(Incarnation through) override { inbox_->Post(LifeOver{through}); }
  void OnJoin(const pb::JoinRequest& request,
              std::function<void(const pb::JoinResponse&)> answer) override {
    inbox_->Post(JoinAsked{request, std::move(answer)});
  }
  void Forget(NodeId node, std::function<void(absl::Status)> done) override {
    {
      base::MutexLock lock(mutex_);
      if (!closed_) return inbox_->Post(ToForget{node, std::move(done)});
    }
    done(Stops());
  }
  Lease lease() const override {
    base::MutexLock lock(mutex_);
    return lease_;
  }
  void EndLife() override { inbox_->Post(EndAsked{}); }
  bool has_ended() const override {
    base::MutexLock lock(mutex_);
    return ended_;
  }
  void Stop() override {
    inbox_->Stop();
    if (thread_.joinable()) thread_.join();
    {
      base::MutexLock lock(mutex_);
      closed_ = true;
    }
    for (auto& [token, asked] : std::exchange(forgetting_, {})) asked.done(Stops());
    for (auto& input : inbox_->Take()) {  // What came too late for the thread.
      if (auto* const to_forget = std::get_if<ToForget>(&input)) to_forget->done(Stops());
    }
  }

 private:
  static absl::Status Stops() { return absl::CancelledError("this node stops"); }
  void Run();
  void ReadTime();
  void GiveLeaseUp();
  void On(FromLog& from);
  void On(FromNode& from);
  void On(JoinAsked& asked);
  void On(JoinAnswered& answered);
  void On(LifeOver& over) { node_.OnLifeOver(over.through); }
  void On(EndAsked& /*asked*/) { node_.EndLife(); }
  void On(ToForget& asked);
  void OnItem(NodeLife /*from*/, const RaftItem& /*item*/) {}
  void OnItem(NodeLife from, const LeaseRequest& request);
  void OnItem(NodeLife /*from*/, const LeaseAnswer& answer) { node_.OnLeaseAnswer(answer); }
  void OnItem(NodeLife from, const MembersWanted& wanted);
  void OnItem(NodeLife from, const MembersTold& told);
  void OnItem(NodeLife from, const ForgetAsked& asked);
  void OnItem(NodeLife from, const ForgetAnswered& answered);
  void OnCommitted(Committed& committed);
  void Act();
  void LogApart(const CommonTime::Apart& apart) const;
  bool BeginLife(const MetaOutputs& out);
  void AskLease(const MetaOutputs::LeaseAsked& asked);
  void AskAdmission(const pb::AdmitNode& self);
  void AnswerAdmission(const MetaOutputs::AdmissionAnswer& answer);
  void ShowMembers();
  bool HasReplica() const { return HasReplica(id_); }
  bool HasReplica(NodeId id) const;
  void Install(std::string_view members, uint64_t index);
  void TellMembers(NodeId to);
  void TellMembersToAll();
  void AskForMembers(absl::Duration now);
  void AskToForget(absl::Duration now);
  void AnswerForget(const MetaOutputs::ForgetAnswer& answer);
  std::string AddressOf(NodeId id) const;
  std::string LeaderAddress() const;

  const NodeId id_;
  const GroupId group_;
  const pb::AdmitNode self_;
  const std::string cluster_id_;
  const std::vector<std::string> ask_at_;
  const Parts parts_;
  const std::shared_ptr<Inbox> inbox_;
  mutable base::Mutex mutex_;
  Lease lease_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;  // Nothing is taken from the inbox any more.

  // ---- Its thread.
  MetaNode node_;
  Incarnation incarnation_;
  Incarnation to_begin_;  // Not on the disk yet.
  ReplicaId leader_ = 0;
  bool stopped_ = false;  // By an entry that cannot be understood.
  absl::Duration next_members_ = -absl::InfiniteDuration();
  std::string refused_;                                     // Told last.
  absl::Duration lease_until_ = -absl::InfiniteDuration();  // Likewise.
  // What was asked here, by token.
  struct Forgetting {
    NodeId node;
    std::function<void(absl::Status)> done;
    absl::Duration until;
    absl::Duration next_ask = -absl::InfiniteDuration();
  };
  std::map<uint64_t, Forgetting> forgetting_;
  // What others have asked, by the token under which it is decided: whom to answer under which.
  std::map<uint64_t, std::pair<NodeId, uint64_t>> forget_asked_;
  uint64_t last_token_ = 0;
  std::map<uint64_t, std::function<void(const pb::JoinResponse&)>> joins_;
  std::thread thread_;  // Last: it uses all of it.
};

void RealMetaGroup::Run() {
  do {
    for (auto& input : inbox_->Take()) {
      ReadTime();
      std::visit([this](auto& value) { On(value); }, input);
      Act();
    }
    if (stopped_) continue;
    ReadTime();
    const absl::Duration now = parts_.clock->SinceBoot();
    node_.Tick(now);
    AskForMembers(now);
    AskToForget(now);
    Act();
  } while (inbox_->Sleep(kTurn));
}

void RealMetaGroup::ReadTime() {
  node_.SetTime(parts_.timeline->UnixMs(parts_.clock->MonotonicNs()), parts_.clock->SinceBoot());
}

void RealMetaGroup::On(FromLog& from) {
  if (stopped_) return;
  if (auto* const committed = std::get_if<Committed>(&from.event)) {
    OnCommitted(*committed);
  } else if (const auto* const role = std::get_if<RoleChange>(&from.event)) {
    leader_ = role->leader;
    node_.OnRole(role->role == Role::kLeader, role->applied_before_leading,
                 parts_.clock->SinceBoot());
  } else if (const auto* const fate = std::get_if<NotCommitted>(&from.event)) {
    node_.OnNotCommitted(fate->proposal, fate->fate == Fate::kSurely);
  } else if (const auto* const readable = std::get_if<Readable>(&from.event)) {
    node_.OnBarrier(readable->ticket, true);
  } else if (const auto* const not_readable = std::get_if<NotReadable>(&from.event)) {
    node_.OnBarrier(not_readable->ticket, false);
  }
}

void RealMetaGroup::OnCommitted(Committed& committed) {
  for (const CommittedEntry& entry : committed.entries) {
    const absl::Status status = node_.OnCommitted(entry.place.index, entry.entry, entry.proposal,
                                                  parts_.clock->SinceBoot());
    if (status.ok()) continue;
    stopped_ = true;
    GiveLeaseUp();
    return parts_.on_stopped(status);
  }
}

void RealMetaGroup::GiveLeaseUp() {
  if (parts_.on_lease) parts_.on_lease(-absl::InfiniteDuration());
  base::MutexLock lock(mutex_);
  lease_ = {};
}

void RealMetaGroup::On(FromNode& from) {
  if (stopped_) return;
  std::visit([&](const auto& item) { OnItem(from.from, item); }, from.what);
}

void RealMetaGroup::OnItem(NodeLife from, const LeaseRequest& request) {
  // Nobody asks for another.
  if (request.life == from) node_.OnLeaseRequest(request, parts_.clock->SinceBoot());
}

void RealMetaGroup::On(JoinAsked& asked) {
  if (node_.members().cluster_id().empty()) {
    pb::JoinResponse response;
    response.set_why("this node waits to be admitted itself");
    return asked.answer(response);
  }
  if (!asked.request.cluster_id().empty() &&
      asked.request.cluster_id() != node_.members().cluster_id()) {
    pb::JoinResponse response;
    response.set_why(absl::StrCat("this node belongs to cluster ", node_.members().cluster_id()));
    return asked.answer(response);
  }
  joins_[++last_token_] = std::move(asked.answer);
  node_.OnAdmissionAsked(last_token_, asked.request.node());
}

void RealMetaGroup::On(JoinAnswered& answered) {
  const pb::JoinResponse& response = answered.response;
  const bool decided = response.refused() || response.why().empty();
  if (decided && refused_ != response.why()) {
    refused_ = response.why();
    parts_.on_refused(refused_);
  }
  if (response.why().empty() && response.node() == id_.value()) {
    if (!HasReplica() && response.has_state())
      Install(response.state().SerializeAsString(), response.index());
    node_.OnAdmitted({id_, Incarnation(response.incarnation())});
  } else if (response.incarnation() != 0) {
    node_.OnNotAdmitted(Incarnation(response.incarnation()));
  }
}

// ---- Nodes without a replica --------------------------------------------------------------------

bool RealMetaGroup::HasReplica(NodeId id) const {
  const auto& replicas = node_.members().meta().replicas;
  return std::any_of(replicas.begin(), replicas.end(),
                     [id](const GroupReplicas::Replica& replica) { return replica.node == id; });
}

void RealMetaGroup::OnItem(NodeLife from, const MembersWanted& wanted) {
  if (HasReplica() && wanted.index < node_.applied()) TellMembers(from.node);
}

void RealMetaGroup::OnItem(NodeLife /*from*/, const MembersTold& told) {
  if (!HasReplica()) Install(told.members, told.index);
}

void RealMetaGroup::Install(std::string_view members, uint64_t index) {
  if (index <= node_.applied()) return;
  absl::StatusOr<Members> read = Members::Decode(members);
  if (read.ok()) return node_.Install(*std::move(read), index);
  if (!absl::IsUnimplemented(read.status())) {
    return base::LogLimited(base::LogLevel::kError, "members of the cluster cannot be read",
                            "members", {{"error", read.status()}});
  }
  stopped_ = true;  // It needs a newer release.
  GiveLeaseUp();
  parts_.on_stopped(read.status());
}

void RealMetaGroup::TellMembers(NodeId to) {
  (void)parts_.links->Send(to, LinkClass::kControl,
                           EncodeControl(MembersTold{node_.applied(), node_.members().Encode()}));
}

void RealMetaGroup::TellMembersToAll() {
  if (!HasReplica()) return;
  for (const auto& [id, node] : node_.members().nodes()) {
    if (node.is_live() && !HasReplica(id)) TellMembers(id);
  }
}

void RealMetaGroup::AskForMembers(absl::Duration now) {
  if (HasReplica() || now < next_members_) return;
  next_members_ = now + kMembersAskedEvery;
  for (const GroupReplicas::Replica& replica : node_.members().meta().replicas) {
    (void)parts_.links->Send(replica.node, LinkClass::kControl,
                             EncodeControl(MembersWanted{node_.applied()}));
  }
}

// ---- Members that are to be none ----------------------------------------------------------------

void RealMetaGroup::On(ToForget& asked) {
  const absl::Duration now = parts_.clock->SinceBoot();
  forgetting_[++last_token_] = {
      .node = asked.node, .done = std::move(asked.done), .until = now + kForgetAnsweredWithin};
  AskToForget(now);
}

// Whoever leads the group answers; the others say that they do not.
void RealMetaGroup::AskToForget(absl::Duration now) {
  for (auto it = forgetting_.begin(); it != forgetting_.end();) {
    auto& [token, asked] = *it;
    if (now >= asked.until) {
      asked.done(absl::UnavailableError(
          "no node decides about that just now: most nodes of the cluster cannot be reached"));
      it = forgetting_.erase(it);
      continue;
    }
    if (now >= asked.next_ask) {
      asked.next_ask = now + kForgetAskedEvery;
      for (const GroupReplicas::Replica& replica : node_.members().meta().replicas) {
        if (replica.node == id_) {
          const uint64_t decided = ++last_token_;
          forget_asked_[decided] = {id_, token};
          node_.OnForgetAsked(decided, asked.node);
        } else {
          (void)parts_.links->Send(replica.node, LinkClass::kControl,
                                   EncodeControl(ForgetAsked{token, asked.node}));
        }
      }
    }
    ++it;
  }
}

void RealMetaGroup::OnItem(NodeLife from, const ForgetAsked& asked) {
  const uint64_t decided = ++last_token_;
  forget_asked_[decided] = {from.node, asked.token};
  node_.OnForgetAsked(decided, asked.node);
}

void RealMetaGroup::AnswerForget(const MetaOutputs::ForgetAnswer& answer) {
  const auto it = forget_asked_.find(answer.token);
  if (it == forget_asked_.end()) return;
  const auto [to, token] = it->second;
  forget_asked_.erase(it);
  const ForgetAnswered answered{token, answer.status};
  if (to == id_) return OnItem({id_, incarnation_}, answered);
  (void)parts_.links->Send(to, LinkClass::kControl, EncodeControl(answered));
}

void RealMetaGroup::OnItem(NodeLife /*from*/, const ForgetAnswered& answered) {
  const auto it = forgetting_.find(answered.token);
  if (it == forgetting_.end() || absl::IsUnavailable(answered.status)) return;
  const std::function<void(absl::Status)> done = std::move(it->second.done);
  forgetting_.erase(it);
  done(answered.status);
}

// ---- What it wants done -------------------------------------------------------------------------

void RealMetaGroup::Act() {
  // What is done for oneself can make for more.
  for (bool again = true; again;) {
    MetaOutputs out = node_.Take();
    again = !out.leases_answered.empty() || !out.leases_asked.empty();
    if (out.time_shift_ms != 0) parts_.timeline->Skip(out.time_shift_ms);
    if (out.time_apart.has_value()) LogApart(*out.time_apart);
    if (out.members_changed) {
      ShowMembers();
      TellMembersToAll();
      parts_.on_members(node_.members(), node_.applied());
    }
    if (!out.gone.empty()) parts_.on_gone(out.gone);
    for (MetaOutputs::Proposal& proposal : out.proposals)
      parts_.submit(
          {.group = group_, .number = proposal.number, .entry = std::move(proposal.entry)});
    for (const uint64_t ticket : out.barriers) parts_.read_barrier(ticket);
    for (const MetaOutputs::LeaseAsked& asked : out.leases_asked) AskLease(asked);
    for (const auto& [to, answer] : out.leases_answered) {
      if (to == id_) {
        node_.OnLeaseAnswer(answer);
      } else {
        (void)parts_.links->Send(to, LinkClass::kControl, EncodeControl(answer));
      }
    }
    for (const MetaOutputs::AdmissionAnswer& answer : out.admissions) AnswerAdmission(answer);
    for (const MetaOutputs::ForgetAnswer& answer : out.forgotten) AnswerForget(answer);
    if (BeginLife(out) && out.ask_admission.has_value()) AskAdmission(*out.ask_admission);
  }
  if (parts_.times_apart != nullptr) *parts_.times_apart = node_.times_apart();
  if (stopped_) return;  // Its lease is given up.
  const absl::Duration until = node_.lease().until();
  if (std::exchange(lease_until_, until) != until && parts_.on_lease) parts_.on_lease(until);
  base::MutexLock lock(mutex_);
  lease_ = {.life = node_.life(), .until = until};
  ended_ = node_.has_ended();
}

void RealMetaGroup::LogApart(const CommonTime::Apart& apart) const {
  base::Log(base::LogLevel::kWarning, "another node's time is not followed",
            {{"node", apart.node == NodeId() ? "that leads" : absl::StrCat(apart.node.value())},
             {"ahead_s", apart.ahead_ms / 1000},
             {"advice",
              "they are more than a minute apart, so what expires may end early or late: restart "
              "whichever of the two is wrong, and it takes the others' time"}});
}

// False: it has begun a life that is not on the disk yet, and nobody may hear of it.
bool RealMetaGroup::BeginLife(const MetaOutputs& out) {
  if (out.begun.has_value()) to_begin_ = *out.begun;
  if (to_begin_ == Incarnation()) return true;
  const absl::Status status = parts_.begin_life(to_begin_);
  if (!status.ok()) {
    if (absl::IsCancelled(status)) return false;
    base::LogLimited(base::LogLevel::kError, "node cannot begin a life", "disk",
                     {{"incarnation", to_begin_.value()}, {"why", status}});
    return false;
  }
  incarnation_ = std::exchange(to_begin_, Incarnation());
  ShowMembers();
  return true;
}

void RealMetaGroup::AskLease(const MetaOutputs::LeaseAsked& asked) {
  if (asked.to == id_) {
    node_.OnLeaseRequest(asked.request, parts_.clock->SinceBoot());
  } else {
    (void)parts_.links->Send(asked.to, LinkClass::kControl, EncodeControl(asked.request));
  }
}

void RealMetaGroup::AskAdmission(const pb::AdmitNode& self) {
  pb::JoinRequest request;
  request.set_cluster_id(cluster_id_);
  *request.mutable_node() = self;
  const auto ask = [&](const std::string& address) {
    parts_.links->Join(address, request, kJoinAnsweredWithin,
                       [inbox = inbox_](absl::StatusOr<pb::JoinResponse> response) {
                         if (response.ok()) inbox->Post(JoinAnswered{*std::move(response)});
                       });
  };
  std::set<std::string> addresses;
  if (!HasReplica()) addresses.insert(ask_at_.begin(), ask_at_.end());
  for (const GroupReplicas::Replica& replica : node_.members().meta().replicas) {
    if (replica.node == id_) {
      inbox_->Post(JoinAsked{request, [inbox = inbox_](const pb::JoinResponse& response) {
                               inbox->Post(JoinAnswered{response});
                             }});
      continue;
    }
    addresses.insert(AddressOf(replica.node));
  }
  addresses.erase(self_.cluster_address());
  for (const std::string& address : addresses) ask(address);
}

void RealMetaGroup::AnswerAdmission(const MetaOutputs::AdmissionAnswer& answer) {
  const auto it = joins_.find(answer.token);
  if (it == joins_.end()) return;
  pb::JoinResponse response;
  response.set_cluster_id(node_.members().cluster_id());
  if (answer.ask_again) {
    response.set_why("another node decides");
    response.set_ask_at(LeaderAddress());
  } else if (!answer.why.empty()) {
    response.set_why(answer.why);
    response.set_incarnation(answer.known.value());
    response.set_refused(answer.refused);
  } else {
    response.set_node(answer.life.node.value());
    response.set_incarnation(answer.life.incarnation.value());
    for (const auto& [id, node] : node_.members().nodes())
      response.add_members(node.cluster_address);
    response.set_index(node_.applied());
    response.mutable_state()->ParseFromString(node_.members().Encode());
  }
  it->second(response);
  joins_.erase(it);
}

void RealMetaGroup::ShowMembers() {
  Door door;
  door.Know(node_.members());
  door.self = {id_, incarnation_};
  door.uuid = self_.uuid();
  door.release = self_.release();
  parts_.links->SetDoor(std::move(door));
  std::map<NodeId, std::string> peers;
  for (const auto& [id, node] : node_.members().nodes()) {
    if (id != id_ && !node.cluster_address.empty()) peers[id] = node.cluster_address;
  }
  parts_.links->SetPeers(std::move(peers));
}

std::string RealMetaGroup::AddressOf(NodeId id) const {
  const Node* const node = node_.members().Find(id);
  return node == nullptr ? "" : node->cluster_address;
}

std::string RealMetaGroup::LeaderAddress() const {
  for (const GroupReplicas::Replica& replica : node_.members().meta().replicas) {
    if (replica.number == leader_ && replica.node != id_) return AddressOf(replica.node);
  }
  return "";
}

}  // namespace

std::unique_ptr<MetaGroup> MetaGroup::Start(MetaGroupOptions options, Parts parts) {
  return std::make_unique<RealMetaGroup>(std::move(options), std::move(parts));
}

}  // namespace cluster
