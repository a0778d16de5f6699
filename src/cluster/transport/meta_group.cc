#include "cluster/transport/meta_group.h"

#include <map>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/inbox.h"
#include "base/log.h"
#include "mqttd/cluster/v1/link.pb.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;

constexpr absl::Duration kTurn = absl::Milliseconds(50);
constexpr absl::Duration kJoinAnsweredWithin = absl::Seconds(2);

struct FromLog {
  LogEvent event;
};
struct FromNode {
  NodeLife from;
  std::variant<LeaseRequest, LeaseAnswer> what;
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
// Outlives the group in the hands of calls that are under way.
using Inbox =
    base::Inbox<std::variant<FromLog, FromNode, JoinAsked, JoinAnswered, LifeOver, EndAsked>>;

class RealMetaGroup final : public MetaGroup {
 public:
  RealMetaGroup(MetaGroupOptions options, Parts parts)
      : id_(options.node),
        group_(options.group),
        self_(options.self),
        parts_(std::move(parts)),
        inbox_(std::make_shared<Inbox>()),
        node_(options.leases, std::move(options.self), std::move(options.members), options.applied),
        incarnation_(self_.incarnation()) {
    ShowMembers();
    thread_ = std::thread([this] { Run(); });
  }
  ~RealMetaGroup() override { Stop(); }

  void OnLogEvent(LogEvent event) override { inbox_->Post(FromLog{std::move(event)}); }
  void OnControl(NodeLife from, const ControlItem& item) override {
    if (const auto* const request = std::get_if<LeaseRequest>(&item)) {
      inbox_->Post(FromNode{from, *request});
    } else if (const auto* const answer = std::get_if<LeaseAnswer>(&item)) {
      inbox_->Post(FromNode{from, *answer});
    }
  }
  void OnLifeOver(Incarnation through) override { inbox_->Post(LifeOver{through}); }
  void OnJoin(const pb::JoinRequest& request,
              std::function<void(const pb::JoinResponse&)> answer) override {
    inbox_->Post(JoinAsked{request, std::move(answer)});
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
  }

 private:
  void Run();
  void On(FromLog& from);
  void On(FromNode& from);
  void On(JoinAsked& asked);
  void On(JoinAnswered& answered);
  void On(LifeOver& over) { node_.OnLifeOver(over.through); }
  void On(EndAsked& /*asked*/) { node_.EndLife(); }
  void OnCommitted(Committed& committed);
  void Act();
  bool BeginLife(const MetaOutputs& out);
  void AskLease(const MetaOutputs::LeaseAsked& asked);
  void AskAdmission(const pb::AdmitNode& self);
  void AnswerAdmission(const MetaOutputs::AdmissionAnswer& answer);
  void ShowMembers();
  std::string AddressOf(NodeId id) const;
  std::string LeaderAddress() const;

  const NodeId id_;
  const GroupId group_;
  const pb::AdmitNode self_;
  const Parts parts_;
  const std::shared_ptr<Inbox> inbox_;
  mutable base::Mutex mutex_;
  Lease lease_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;

  // ---- Its thread.
  MetaNode node_;
  Incarnation incarnation_;
  Incarnation to_begin_;  // Not on the disk yet.
  ReplicaId leader_ = 0;
  bool stopped_ = false;  // By an entry that cannot be understood.
  uint64_t last_token_ = 0;
  std::map<uint64_t, std::function<void(const pb::JoinResponse&)>> joins_;
  std::thread thread_;  // Last: it uses all of it.
};

void RealMetaGroup::Run() {
  do {
    for (auto& input : inbox_->Take()) {
      std::visit([this](auto& value) { On(value); }, input);
      Act();
    }
    if (stopped_) continue;
    node_.Tick(parts_.clock->Monotonic());
    Act();
  } while (inbox_->Sleep(kTurn));
}

void RealMetaGroup::On(FromLog& from) {
  if (stopped_) return;
  if (auto* const committed = std::get_if<Committed>(&from.event)) {
    OnCommitted(*committed);
  } else if (const auto* const role = std::get_if<RoleChange>(&from.event)) {
    leader_ = role->leader;
    node_.OnRole(role->role == Role::kLeader, role->applied_before_leading,
                 parts_.clock->Monotonic());
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
                                                  parts_.clock->Monotonic());
    if (status.ok()) continue;
    stopped_ = true;
    {
      base::MutexLock lock(mutex_);
      lease_ = {};
    }
    return parts_.on_stopped(status);
  }
}

void RealMetaGroup::On(FromNode& from) {
  if (const auto* const request = std::get_if<LeaseRequest>(&from.what)) {
    // Nobody asks for another.
    if (request->life == from.from) node_.OnLeaseRequest(*request, parts_.clock->Monotonic());
  } else {
    node_.OnLeaseAnswer(std::get<LeaseAnswer>(from.what));
  }
}

void RealMetaGroup::On(JoinAsked& asked) {
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
  if (response.why().empty() && response.node() == id_.value()) {
    node_.OnAdmitted({id_, Incarnation(response.incarnation())});
  } else if (response.incarnation() != 0) {
    node_.OnNotAdmitted(Incarnation(response.incarnation()));
  }
}

// ---- What it wants done -------------------------------------------------------------------------

void RealMetaGroup::Act() {
  // What is done for oneself can make for more.
  for (bool again = true; again;) {
    MetaOutputs out = node_.Take();
    again = !out.leases_answered.empty() || !out.leases_asked.empty();
    if (out.members_changed) {
      ShowMembers();
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
    if (BeginLife(out) && out.ask_admission.has_value()) AskAdmission(*out.ask_admission);
  }
  base::MutexLock lock(mutex_);
  lease_ = {.life = node_.life(), .until = node_.lease().until()};
  ended_ = node_.has_ended();
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
    node_.OnLeaseRequest(asked.request, parts_.clock->Monotonic());
  } else {
    (void)parts_.links->Send(asked.to, LinkClass::kControl, EncodeControl(asked.request));
  }
}

void RealMetaGroup::AskAdmission(const pb::AdmitNode& self) {
  pb::JoinRequest request;
  request.set_cluster_id(node_.members().cluster_id());
  *request.mutable_node() = self;
  for (const GroupReplicas::Replica& replica : node_.members().meta().replicas) {
    if (replica.node == id_) {
      inbox_->Post(JoinAsked{request, [inbox = inbox_](const pb::JoinResponse& response) {
                               inbox->Post(JoinAnswered{response});
                             }});
      continue;
    }
    parts_.links->Join(AddressOf(replica.node), request, kJoinAnsweredWithin,
                       [inbox = inbox_](absl::StatusOr<pb::JoinResponse> response) {
                         if (response.ok()) inbox->Post(JoinAnswered{*std::move(response)});
                       });
  }
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
  } else {
    response.set_node(answer.life.node.value());
    response.set_incarnation(answer.life.incarnation.value());
    for (const auto& [id, node] : node_.members().nodes())
      response.add_members(node.cluster_address);
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
