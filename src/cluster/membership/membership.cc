#include "cluster/membership/membership.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/inbox.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "cluster/discovery/finder.h"
#include "cluster/discovery/identity_file.h"
#include "cluster/partition_log.h"
#include "cluster/raft/hand_over.h"
#include "cluster/transport/meta_group.h"
#include "cluster/transport/raft_transport.h"
#include "mqttd/cluster/v1/link.pb.h"
#include "mqttd/cluster/v1/members.pb.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;

// Behind all partitions.
constexpr GroupId kMetaGroup = 0x100;
static_assert(kMetaGroup >= storage::kPartitionsMax);

// So often it is looked at whether the lease still holds.
constexpr absl::Duration kWatch = absl::Milliseconds(100);
// And at who leads what, so that a node that came back leads its part again.
constexpr absl::Duration kBalance = absl::Seconds(1);
// And, by a node that leaves, whether it still leads.
constexpr absl::Duration kLeaveLook = absl::Milliseconds(5);

bool HasReplica(const GroupReplicas& group, NodeId node) {
  return std::any_of(group.replicas.begin(), group.replicas.end(),
                     [node](const GroupReplicas::Replica& one) { return one.node == node; });
}

// What the thread of the membership is told.
struct Found {
  pb::NodeIdentity identity;
};
struct MembersCame {
  Members members;
  uint64_t applied = 0;
};
struct MetaStopped {
  absl::Status status;
};
struct LifeOver {};
using Inbox = base::Inbox<std::variant<Found, MembersCame, MetaStopped, LifeOver>>;

class RealMembership final : public Membership, private LinkHandler {
 public:
  RealMembership(MembershipOptions options, MembershipHandler& handler, const base::Clock& clock,
                 pb::NodeIdentity identity)
      : options_(std::move(options)),
        handler_(handler),
        clock_(clock),
        was_member_(!identity.cluster_id().empty()) {}
  ~RealMembership() override { Stop(); }

  absl::Status Listen();

  storage::CommandLogOpener log_opener() override {
    return [this](const storage::CommandLogPlace& place) { return OpenLog(place); };
  }
  absl::Status Start(const std::string& uuid, uint32_t shards, base::Timeline& timeline) override;
  Links& links() override { return *links_; }
  std::string why() const override;
  Members members() const override {
    base::MutexLock lock(mutex_);
    return members_;
  }
  NodeLife self() const override {
    base::MutexLock lock(mutex_);
    return self_;
  }
  uint64_t times_apart() const override { return times_apart_; }
  bool holds_lease() const override {
    base::MutexLock lock(mutex_);
    return holds_lease_;
  }
  std::vector<NodeId> leaders() const override;
  void LookAt(std::vector<std::string> addresses, std::function<void(absl::Status)> done) override;
  void Forget(NodeId node, std::function<void(absl::Status)> done) override;
  void Leave(absl::Duration within) override;
  void Stop() override;

 private:
  absl::StatusOr<std::unique_ptr<storage::CommandLog>> OpenLog(
      const storage::CommandLogPlace& place);

  // ---- LinkHandler
  void OnUp(NodeLife peer) override { handler_.OnUp(peer); }
  void OnDown(NodeId peer, const std::string& why) override;
  void OnLifeOver(Incarnation through) override {
    if (const auto group = meta()) group->OnLifeOver(through);
  }
  void OnRoom(NodeId peer, LinkClass link_class) override {
    if (link_class == LinkClass::kTraffic) handler_.OnRoom(peer);
  }
  void OnFrame(ReceivedFrame frame) override;
  void OnMeet(const pb::BootstrapView& view,
              std::function<void(const pb::BootstrapView&)> answer) override;
  void OnJoin(const pb::JoinRequest& request,
              std::function<void(const pb::JoinResponse&)> answer) override;
  void OnAdmin(const pb::AdminRequest& request,
               std::function<void(const pb::AdminResponse&)> answer) override {
    handler_.OnAdmin(request, std::move(answer));
  }

  // ---- On threads of the log and of the meta group.
  void OnMetaEvents(std::vector<LogEvent> events);
  void OnControl(NodeLife from, const ControlItem& item);
  absl::Status BeginLife(Incarnation incarnation);
  RaftTransport::Parts TransportParts();
  std::shared_ptr<MetaGroup> meta() const {
    base::MutexLock lock(mutex_);
    return meta_;
  }

  // ---- Its thread.
  void Run();
  void On(Found& found);
  void On(MembersCame& came);
  void On(MetaStopped& stopped);
  void On(LifeOver&) { handler_.OnLifeOver(); }
  absl::Status Begin(const pb::NodeIdentity& identity);
  absl::Status CheckPartitions(const Members& members) const;
  void JoinGroups(const Members& members, Place applied);
  void StartMeta(const pb::NodeIdentity& identity, const Members& members, Place applied);
  void ShowReplicas(const Members& members);
  void WatchLease();
  void BalanceLeaders();

  // ---- A thread that waits for the disk.
  void RunKeeper();
  absl::Status Keep(const Members& members, uint64_t applied);

  const MembershipOptions options_;
  MembershipHandler& handler_;
  const base::Clock& clock_;
  const bool was_member_;
  const std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
  std::unique_ptr<Links> links_;
  std::unique_ptr<RaftTransport> transport_;  // From Listen on.
  PartitionLog* log_ = nullptr;               // From OpenLog on; the host's.
  std::string uuid_;
  uint32_t shards_ = 0;
  base::Timeline* timeline_ = nullptr;
  std::string address_;
  // Of this process, so that asking once more to be admitted is known as that.
  const uint64_t start_ = base::Rng::FromEntropy()();

  std::atomic<bool> leaving_{false};
  std::atomic<uint64_t> times_apart_{0};

  // ---- Its thread.
  NodeId node_;
  absl::Duration next_balance_ = -absl::InfiniteDuration();
  const std::shared_ptr<HandOver> hand_over_ = std::make_shared<HandOver>();  // The loop's thread.
  bool told_stopped_ = false;
  bool checked_ = false;  // What the cluster has is what this node was configured for.

  base::Inbox<MembersCame> to_keep_;

  // ---- The meta group's thread.
  bool life_is_over_ = false;

  mutable base::Mutex mutex_;
  std::unique_ptr<Finder> finder_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<MetaGroup> meta_ ABSL_GUARDED_BY(mutex_);
  std::vector<LogEvent> early_ ABSL_GUARDED_BY(mutex_);  // Before `meta_`.
  // Places of entries of the meta group that are committed and not kept on the disk.
  std::deque<Place> meta_places_ ABSL_GUARDED_BY(mutex_);
  Members members_ ABSL_GUARDED_BY(mutex_);
  NodeLife self_ ABSL_GUARDED_BY(mutex_);
  bool holds_lease_ ABSL_GUARDED_BY(mutex_) = false;
  std::string stopped_ ABSL_GUARDED_BY(mutex_);  // Why; empty: it is not.
  std::string refused_ ABSL_GUARDED_BY(mutex_);  // Why it is not admitted.
  std::thread thread_;
  std::thread keeper_;
};

// ---- Opening ------------------------------------------------------------------------------------

absl::Status RealMembership::Listen() {
  ASSIGN_OR_RETURN(links_, Links::Start(options_.links, *this, clock_));
  address_ = options_.advertise.empty() ? links_->address() : options_.advertise;
  transport_ = std::make_unique<RaftTransport>(*links_, TransportParts());
  return absl::OkStatus();
}

RaftTransport::Parts RealMembership::TransportParts() {
  return {.receive =
              [this](std::vector<RaftLoop::Message> messages, std::function<void()> taken) {
                log_->raft().Receive(std::move(messages));
                log_->raft().Run([taken = std::move(taken)](RaftLoop&) { taken(); });
              },
          .unreachable =
              [this](RaftTransport::Place place) {
                log_->raft().Run(
                    [place](RaftLoop& loop) { loop.ReportUnreachable(place.first, place.second); });
              },
          .other = [this](NodeLife from, const ControlItem& item) { OnControl(from, item); }};
}

absl::StatusOr<std::unique_ptr<storage::CommandLog>> RealMembership::OpenLog(
    const storage::CommandLogPlace& place) {
  LogPeers peers;
  peers.send = [this](std::vector<RaftLoop::Message> messages) { transport_->Send(messages); };
  peers.others = [this](std::vector<LogEvent> events) { OnMetaEvents(std::move(events)); };
  ASSIGN_OR_RETURN(std::unique_ptr<PartitionLog> log,
                   PartitionLog::OpenInCluster(place, std::move(peers)));
  log_ = log.get();
  return log;
}

absl::Status RealMembership::Start(const std::string& uuid, uint32_t shards,
                                   base::Timeline& timeline) {
  ASSIGN_OR_RETURN(const RaftLog::Extent meta, log_->raft().ExtentOf(kMetaGroup, 0));
  const bool was_members = log_->was_members() || meta.alone || meta.of_cluster;
  if (!was_member_ && was_members) return IsCopyOfMember(options_.directory);
  if (!was_member_ && log_->was_alone()) {
    return absl::FailedPreconditionError(
        absl::StrCat(options_.directory,
                     " was used by a node without a cluster, and what is in it cannot be taken "
                     "into one: start with an empty data_dir, or without cluster.listen"));
  }
  uuid_ = uuid;
  shards_ = shards;
  timeline_ = &timeline;
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "membership");
    Run();
  });
  keeper_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "members-file");
    RunKeeper();
  });
  FinderOptions options;
  options.directory = options_.directory;
  options.bootstrap = options_.bootstrap;
  options.bootstrap.uuid = uuid;
  options.bootstrap.start = start_;
  options.bootstrap.address = address_;
  options.dns = options_.dns;
  options.client_addresses = options_.client_addresses;
  options.shards = shards;
  ASSIGN_OR_RETURN(std::unique_ptr<Finder> finder,
                   Finder::Start(std::move(options), *links_, std::make_shared<SystemResolver>(),
                                 clock_, [inbox = inbox_](const pb::NodeIdentity& identity) {
                                   inbox->Post(Found{identity});
                                 }));
  base::MutexLock lock(mutex_);
  finder_ = std::move(finder);
  return absl::OkStatus();
}

void RealMembership::LookAt(std::vector<std::string> addresses,
                            std::function<void(absl::Status)> done) {
  {
    base::MutexLock lock(mutex_);
    if (finder_ != nullptr) return finder_->LookAt(std::move(addresses), std::move(done));
  }
  done(absl::UnavailableError("this node is starting: try again in a moment"));
}

void RealMembership::Forget(NodeId node, std::function<void(absl::Status)> done) {
  if (const auto group = meta()) return group->Forget(node, std::move(done));
  done(absl::UnavailableError("this node belongs to no cluster yet"));
}

void RealMembership::Leave(absl::Duration within) {
  const std::shared_ptr<MetaGroup> group = meta();
  {
    base::MutexLock lock(mutex_);
    if (group == nullptr || self_ == NodeLife{} || !holds_lease_) return;
  }
  leaving_ = true;
  const absl::Duration begun = clock_.Monotonic();
  const auto left = [&] { return begun + within - clock_.Monotonic(); };
  const auto wait_for = [&](auto&& done) {
    while (!done() && left() > absl::ZeroDuration()) absl::SleepFor(kLeaveLook);
  };
  // Its thread may hang in a write, and look only when nobody waits any more.
  struct Look {
    absl::Notification done;
    size_t led = 0;
  };
  size_t led = 0;
  wait_for([&] {
    const auto look = std::make_shared<Look>();
    log_->raft().Run([look](RaftLoop& loop) {
      look->led = loop.YieldLeaderships();
      look->done.Notify();
    });
    if (!look->done.WaitForNotificationWithTimeout(left())) return false;
    led = look->led;
    return led == 0;
  });
  group->EndLife();
  wait_for([&] { return group->has_ended(); });
  base::Log(
      base::LogLevel::kInfo, "left to the other nodes what was led here",
      {{"still_led", led}, {"told", group->has_ended()}, {"took", clock_.Monotonic() - begun}});
}

void RealMembership::Stop() {
  inbox_->Stop();
  if (thread_.joinable()) thread_.join();
  to_keep_.Stop();
  if (keeper_.joinable()) keeper_.join();
  std::unique_ptr<Finder> finder;
  std::shared_ptr<MetaGroup> meta;
  {
    base::MutexLock lock(mutex_);
    finder = std::move(finder_);
    meta = std::move(meta_);
  }
  if (finder != nullptr) finder->Stop();
  if (meta != nullptr) meta->Stop();
  if (links_ != nullptr) links_->Stop();
}

std::string RealMembership::why() const {
  base::MutexLock lock(mutex_);
  if (!stopped_.empty()) return stopped_;
  if (finder_ == nullptr) return "starting";
  if (meta_ == nullptr) {
    std::string why = finder_->why();
    return why.empty() ? "looking for the cluster" : why;
  }
  if (!refused_.empty()) return absl::StrCat("the cluster does not admit this node: ", refused_);
  if (self_ == NodeLife{}) return "waiting for the cluster to admit this node";
  if (!holds_lease_) {
    return "most nodes of the cluster cannot be reached: sessions that are kept are not served";
  }
  return "";
}

std::vector<NodeId> RealMembership::leaders() const {
  base::MutexLock lock(mutex_);
  std::vector<NodeId> leaders(meta_ == nullptr ? 0 : members_.partitions().size());
  for (size_t id = 0; id < leaders.size(); ++id) {
    const ReplicaId leader = log_->leader(static_cast<storage::PartitionId>(id));
    for (const GroupReplicas::Replica& replica : members_.partitions()[id].replicas) {
      if (leader != 0 && replica.number == leader) leaders[id] = replica.node;
    }
  }
  return leaders;
}

// ---- What comes over the links ------------------------------------------------------------------

void RealMembership::OnDown(NodeId peer, const std::string& why) {
  base::Log(base::LogLevel::kInfo, "node not reached", {{"node", peer.value()}, {"why", why}});
  transport_->OnDown(peer);
  handler_.OnDown(peer);
}

void RealMembership::OnFrame(ReceivedFrame frame) {
  switch (frame.link_class()) {
    case LinkClass::kControl:
    case LinkClass::kLog:
      return transport_->OnFrame(std::move(frame));
    case LinkClass::kTraffic:
      return handler_.OnFrame(std::move(frame));
    case LinkClass::kBulk:
      return frame.Took();  // Nothing is sent by it yet.
  }
}

void RealMembership::OnMeet(const pb::BootstrapView& view,
                            std::function<void(const pb::BootstrapView&)> answer) {
  base::MutexLock lock(mutex_);
  if (finder_ != nullptr) finder_->OnMeet(view, std::move(answer));
}

void RealMembership::OnJoin(const pb::JoinRequest& request,
                            std::function<void(const pb::JoinResponse&)> answer) {
  if (const auto group = meta()) return group->OnJoin(request, std::move(answer));
  pb::JoinResponse response;
  response.set_why("this node belongs to no cluster yet");
  answer(response);
}

void RealMembership::OnControl(NodeLife from, const ControlItem& item) {
  if (const auto group = meta()) group->OnControl(from, item);
}

// ---- The meta group -----------------------------------------------------------------------------

void RealMembership::OnMetaEvents(std::vector<LogEvent> events) {
  base::MutexLock lock(mutex_);
  for (LogEvent& event : events) {
    if (const auto* const committed = std::get_if<Committed>(&event)) {
      for (const CommittedEntry& entry : committed->entries) meta_places_.push_back(entry.place);
    }
    if (meta_ == nullptr) {
      early_.push_back(std::move(event));
    } else {
      meta_->OnLogEvent(std::move(event));
    }
  }
}

// The identity may be written by the finder as well; whoever reads an earlier life there is told of
// a later one when it asks to be admitted.
absl::Status RealMembership::BeginLife(Incarnation incarnation) {
  // What is here says in all it does that it is the former life: the next start is the other one.
  const absl::Status over = absl::CancelledError("another life takes another start");
  if (life_is_over_) return over;
  ASSIGN_OR_RETURN(pb::NodeIdentity identity, ReadIdentity(options_.directory));
  identity.set_incarnation(incarnation.value());
  RETURN_IF_ERROR(WriteIdentity(options_.directory, identity));
  if (self() == NodeLife{}) return absl::OkStatus();
  life_is_over_ = true;
  inbox_->Post(LifeOver{});
  return over;
}

// ---- Its thread ---------------------------------------------------------------------------------

void RealMembership::Run() {
  do {
    for (auto& input : inbox_->Take()) std::visit([this](auto& value) { On(value); }, input);
    WatchLease();
    BalanceLeaders();
  } while (inbox_->Sleep(kWatch));
}

void RealMembership::On(Found& found) {
  if (const absl::Status begun = Begin(found.identity); !begun.ok()) {
    MetaStopped stopped{begun};
    On(stopped);
  }
}

absl::Status RealMembership::Begin(const pb::NodeIdentity& identity) {
  node_ = NodeId(static_cast<uint16_t>(identity.node()));
  ASSIGN_OR_RETURN(const pb::MembersFile file, ReadMembers(options_.directory));
  Members members;
  Place applied = kGroupBegin;
  if (file.has_members()) {
    ASSIGN_OR_RETURN(members, Members::Decode(file.members().SerializeAsString()));
    applied = {.index = file.index(), .term = file.term()};
  } else if (identity.has_formation()) {
    members = Members::Founded(identity.formation());
  }
  // Else it has joined, and hears with its admission who belongs to the cluster.
  RETURN_IF_ERROR(CheckPartitions(members));
  {
    base::MutexLock lock(mutex_);
    members_ = members;
  }
  ShowReplicas(members);
  JoinGroups(members, applied);
  StartMeta(identity, members, applied);
  return absl::OkStatus();
}

absl::Status RealMembership::CheckPartitions(const Members& members) const {
  if (members.cluster_id().empty()) return absl::OkStatus();
  if (members.partitions().size() == options_.bootstrap.partitions) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the cluster has ", members.partitions().size(), " partitions, and this node ",
                   options_.bootstrap.partitions, ": set storage.partitions to the former"));
}

void RealMembership::ShowReplicas(const Members& members) {
  std::map<RaftTransport::Place, NodeId> replicas;
  for (const GroupReplicas::Replica& replica : members.meta().replicas)
    replicas[{kMetaGroup, replica.number}] = replica.node;
  for (size_t id = 0; id < members.partitions().size(); ++id) {
    for (const GroupReplicas::Replica& replica : members.partitions()[id].replicas)
      replicas[{static_cast<GroupId>(id), replica.number}] = replica.node;
  }
  transport_->SetReplicas(std::move(replicas));
}

void RealMembership::JoinGroups(const Members& members, Place applied) {
  std::vector<PartitionLog::Replica> replicas;
  for (size_t id = 0; id < members.partitions().size(); ++id) {
    const GroupReplicas& group = members.partitions()[id];
    PartitionLog::Replica here{.partition = static_cast<storage::PartitionId>(id)};
    for (const GroupReplicas::Replica& replica : group.replicas) {
      here.members.push_back(replica.number);
      if (replica.node == node_) here.replica = replica.number;
    }
    here.stands = group.leader == node_ && !was_member_;
    if (here.replica != 0) replicas.push_back(std::move(here));
  }
  GroupStart meta{.group = kMetaGroup, .applied = applied};
  for (const GroupReplicas::Replica& replica : members.meta().replicas) {
    meta.conf_state.voters.push_back(replica.number);
    if (replica.node == node_) meta.replica = replica.number;
  }
  if (meta.replica != 0) {
    log_->raft().Run([this, meta](RaftLoop& loop) {
      absl::Status added = loop.AddGroup(meta);
      // A group with one voter is not ticked, so no timeout ever has it campaign.
      const bool alone = meta.conf_state.voters.size() == 1;
      if (added.ok() && alone) added = loop.Campaign(kMetaGroup);
      if (!added.ok()) inbox_->Post(MetaStopped{std::move(added)});
    });
  }
  log_->Join(std::move(replicas));
}

void RealMembership::StartMeta(const pb::NodeIdentity& identity, const Members& members,
                               Place applied) {
  MetaGroupOptions options;
  options.group = kMetaGroup;
  options.leases = options_.leases;
  options.node = node_;
  options.members = members;
  options.applied = applied.index;
  options.cluster_id = identity.cluster_id();
  options.ask_at = options_.bootstrap.seeds;
  options.ask_at.insert(options.ask_at.end(), identity.members().begin(), identity.members().end());
  options.self.set_node(identity.node());
  options.self.set_uuid(uuid_);
  options.self.set_start(start_);
  options.self.set_incarnation(std::max(identity.incarnation(), uint32_t{1}));
  options.self.set_cluster_address(address_);
  for (const std::string& client : options_.client_addresses)
    options.self.add_client_addresses(client);
  options.self.set_release(options_.bootstrap.release);
  options.self.set_level_max(options_.bootstrap.level_max);
  options.self.set_zone(options_.bootstrap.zone);
  options.self.set_shards(shards_);
  MetaGroup::Parts parts;
  parts.links = links_.get();
  parts.clock = &clock_;
  parts.timeline = timeline_;
  parts.submit = [this](Proposal proposal) {
    std::vector<Proposal> one;
    one.push_back(std::move(proposal));
    log_->raft().Submit(std::move(one));
  };
  parts.read_barrier = [this](uint64_t ticket) {
    log_->raft().Run([ticket](RaftLoop& loop) { loop.ReadBarrier(kMetaGroup, ticket); });
  };
  parts.on_lease = [this](absl::Duration until) { handler_.OnLeaseUntil(until); };
  parts.begin_life = [this](Incarnation incarnation) { return BeginLife(incarnation); };
  parts.on_members = [inbox = inbox_](const Members& now, uint64_t index) {
    inbox->Post(MembersCame{now, index});
  };
  parts.on_gone = [](const std::vector<NodeLife>&) {};  // The members say so, too.
  parts.on_refused = [this](const std::string& why) {
    if (!why.empty()) {
      base::Log(base::LogLevel::kError, "the cluster does not admit this node", {{"why", why}});
    }
    base::MutexLock lock(mutex_);
    refused_ = why;
  };
  parts.times_apart = &times_apart_;
  parts.on_stopped = [inbox = inbox_](const absl::Status& status) {
    inbox->Post(MetaStopped{status});
  };
  std::shared_ptr<MetaGroup> group = MetaGroup::Start(std::move(options), std::move(parts));
  base::MutexLock lock(mutex_);
  meta_ = std::move(group);
  for (LogEvent& event : std::exchange(early_, {})) meta_->OnLogEvent(std::move(event));
}

void RealMembership::On(MembersCame& came) {
  if (!std::exchange(checked_, true)) {
    if (absl::Status fits = CheckPartitions(came.members); !fits.ok()) {
      MetaStopped stopped{std::move(fits)};
      return On(stopped);
    }
  }
  if (told_stopped_) return;
  to_keep_.Post(came);
  NodeLife self;
  {
    base::MutexLock lock(mutex_);
    members_ = came.members;
    self = self_;
  }
  ShowReplicas(came.members);
  if (self != NodeLife{}) handler_.OnMembers(came.members);
}

// A disk that hangs does not keep the lease from being watched, nor anybody from hearing who lives.
void RealMembership::RunKeeper() {
  do {
    const std::vector<MembersCame> came = to_keep_.Take();
    if (came.empty()) continue;
    const absl::Status kept = Keep(came.back().members, came.back().applied);
    if (kept.ok()) continue;  // Else the log is not cut, and all of it is there at the next start.
    base::LogLimited(base::LogLevel::kError, "members of the cluster not written", "disk",
                     {{"error", kept}});
  } while (to_keep_.Sleep(absl::Hours(1)));
}

absl::Status RealMembership::Keep(const Members& members, uint64_t applied) {
  pb::MembersFile file;
  if (!HasReplica(members.meta(), node_)) {
    file.set_index(applied);
    if (!file.mutable_members()->ParseFromString(members.Encode()))
      return absl::InternalError("members cannot be read back");
    return WriteMembers(options_.directory, file);
  }
  {
    base::MutexLock lock(mutex_);
    while (!meta_places_.empty() && meta_places_.front().index < applied) meta_places_.pop_front();
    if (meta_places_.empty() || meta_places_.front().index != applied) return absl::OkStatus();
    file.set_index(applied);
    file.set_term(meta_places_.front().term);
  }
  if (!file.mutable_members()->ParseFromString(members.Encode()))
    return absl::InternalError("members cannot be read back");
  RETURN_IF_ERROR(WriteMembers(options_.directory, file));
  log_->raft().Run([applied](RaftLoop& loop) { loop.Flushed(kMetaGroup, applied); });
  return absl::OkStatus();
}

void RealMembership::On(MetaStopped& stopped) {
  if (std::exchange(told_stopped_, true)) return;
  {
    base::MutexLock lock(mutex_);
    stopped_ = std::string(stopped.status.message());
  }
  handler_.OnStopped(stopped.status);
}

// A partition that is led here, and is to be led by another node that lives and has all of it, is
// handed over.
void RealMembership::BalanceLeaders() {
  const absl::Duration now = clock_.Monotonic();
  if (meta() == nullptr || leaving_ || now < next_balance_) return;
  next_balance_ = now + kBalance;
  std::vector<HandOver::Wanted> wanted;
  {
    base::MutexLock lock(mutex_);
    for (size_t id = 0; id < members_.partitions().size(); ++id) {
      const GroupReplicas& group = members_.partitions()[id];
      const Node* const node = members_.Find(group.leader);
      if (group.leader == node_ || node == nullptr || !node->is_live()) continue;
      for (const GroupReplicas::Replica& replica : group.replicas) {
        if (replica.node == group.leader)
          wanted.push_back({static_cast<GroupId>(id), replica.number, node->incarnation.value()});
      }
    }
  }
  log_->raft().Run([hand_over = hand_over_, wanted = std::move(wanted), now](RaftLoop& loop) {
    hand_over->Run(loop, wanted, now);
  });
}

// What is owned is given up some time before the lease ends, so that it is given up by then.
void RealMembership::WatchLease() {
  const std::shared_ptr<MetaGroup> group = meta();
  if (group == nullptr || leaving_) return;
  const MetaGroup::Lease lease = group->lease();
  const bool holds = clock_.SinceBoot() + options_.leases.fencing < lease.until;
  std::optional<NodeLife> admitted;
  Members members;
  bool over = false;
  {
    base::MutexLock lock(mutex_);
    // It was begun just when this node became the former one.
    over = self_ != NodeLife{} && lease.life != self_;
    if (holds && self_ == NodeLife{} && members_.IsLive(lease.life)) {
      self_ = lease.life;
      admitted = self_;
      members = members_;
    }
    if (over) {
      holds_lease_ = false;
    } else {
      if (self_ == NodeLife{} || (holds == holds_lease_ && !admitted.has_value())) return;
      holds_lease_ = holds;
    }
  }
  if (over) return handler_.OnLifeOver();
  if (admitted.has_value()) handler_.OnAdmitted(*admitted, members);
  handler_.OnLease(holds);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Membership>> Membership::Create(MembershipOptions options,
                                                               MembershipHandler& handler,
                                                               const base::Clock& clock) {
  absl::StatusOr<pb::NodeIdentity> identity = ReadIdentity(options.directory);
  RETURN_IF_ERROR(identity.status());
  auto membership =
      std::make_unique<RealMembership>(std::move(options), handler, clock, *std::move(identity));
  RETURN_IF_ERROR(membership->Listen());
  return membership;
}

absl::Status MayBeAlone(const std::string& directory) {
  ASSIGN_OR_RETURN(const pb::NodeIdentity identity, ReadIdentity(directory));
  if (identity.cluster_id().empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      directory, " belongs to node ", identity.node(), " of cluster ", identity.cluster_id(),
      ", and what is in it is only a part: start it with cluster.listen "
      "(--cluster)"));
}

}  // namespace cluster
