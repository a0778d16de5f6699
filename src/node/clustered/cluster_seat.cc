#include "node/clustered/cluster_seat.h"

#include <atomic>
#include <map>
#include <utility>
#include <vector>

#include "absl/numeric/bits.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/counted.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cluster/link/early_frames.h"
#include "cluster/link/links.h"
#include "cluster/membership/membership.h"
#include "cluster/traffic/traffic.h"
#include "mqttd/cluster/v1/link.pb.h"

namespace node {
namespace {

namespace pb = ::mqttd::cluster::v1;

using cluster::NodeLife;
using storage::LiveNode;

// Without an answer the others find out when the lease has ended.
constexpr absl::Duration kLeavesWithin = absl::Seconds(2);

// Raft puts little around an entry; and there is room for a packet, and for what came before it.
constexpr size_t kEntryBytesMax = cluster::LinkOptions{}.item_bytes_max - (64 << 10);
static_assert(broker::kPacketSizeMaxInCluster + storage::StorageOptions{}.group_bytes_max +
                  (1 << 20) <=
              kEntryBytesMax);

std::vector<LiveNode> OthersIn(const cluster::Members& members, storage::NodeId self) {
  std::vector<LiveNode> others;
  for (const auto& [id, node] : members.nodes()) {
    if (id != self && node.is_live())
      others.push_back({id, node.incarnation, static_cast<storage::ShardId>(node.shards),
                        members.PartitionsOn(id)});
  }
  return others;
}

// Shards are made before it is known which life of which node they are.
class LateForwarder final : public broker::Forwarder {
 public:
  void Use(broker::Forwarder& forwarder) { forwarder_ = &forwarder; }

  broker::NodeMask Forward(storage::ShardId shard, broker::NodeMask nodes,
                           const mqtt::MessageParts& message,
                           const broker::Forwarding& how) override {
    return forwarder_->Forward(shard, nodes, message, how);
  }
  broker::NodeMask ForwardToMember(storage::ShardId shard, uint32_t node,
                                   const mqtt::MessageParts& message,
                                   const storage::ChosenMember& member,
                                   const broker::Forwarding& how) override {
    return forwarder_->ForwardToMember(shard, node, message, member, how);
  }
  broker::NodeMask CutOff() const override { return forwarder_->CutOff(); }
  void Announce(storage::ShardId shard, broker::RouteAnnouncement announcement) override {
    forwarder_->Announce(shard, std::move(announcement));
  }
  void AnnounceMember(storage::ShardId shard, broker::MemberAnnouncement announcement) override {
    forwarder_->AnnounceMember(shard, std::move(announcement));
  }
  void Flush(storage::ShardId shard) override { forwarder_->Flush(shard); }
  void RoutesTaken(storage::ShardId shard, uint32_t node, uint64_t number) override {
    forwarder_->RoutesTaken(shard, node, number);
  }
  void Taken(storage::ShardId shard, uint32_t node, uint64_t messages, uint64_t bytes) override {
    forwarder_->Taken(shard, node, messages, bytes);
  }

 private:
  broker::Forwarder* forwarder_ = nullptr;  // Set before the shards' threads start.
};

class ClusterSeat final : public Seat,
                          public cluster::MembershipHandler,
                          public cluster::TrafficLocal,
                          public storage::EventSink {
 public:
  explicit ClusterSeat(bool serve_without_quorum) : serve_without_quorum_(serve_without_quorum) {
    lease_.without = FencedWithoutLease();
  }
  absl::Status Open(cluster::MembershipOptions options) {
    ASSIGN_OR_RETURN(membership_, cluster::Membership::Create(std::move(options), *this,
                                                              base::RealClock::Get()));
    return absl::OkStatus();
  }
  ~ClusterSeat() override {
    if (membership_ != nullptr) membership_->Stop();
  }

  broker::Forwarder& forwarder() override { return forwarder_; }
  const broker::LeaseEnd& lease() const override { return lease_; }
  size_t entry_bytes_max() const override { return kEntryBytesMax; }
  storage::CommandLogOpener log_opener() override { return membership_->log_opener(); }
  storage::EventSink& sink(broker::Server& server) override {
    use_.server = &server;
    return *this;
  }
  absl::Status Start(Use use) override {
    use_ = std::move(use);
    shards_ = use_.server->shards();
    return membership_->Start(use_.host->node_id(), shards_, use_.host->timeline());
  }
  bool StopStarting() override {
    base::MutexLock lock(start_mutex_);
    stopping_ = true;
    return served_;
  }
  void Leave() override { membership_->Leave(kLeavesWithin); }
  void Stop() override { membership_->Stop(); }
  void LookAt(std::vector<std::string> addresses, std::function<void(absl::Status)> done) override {
    membership_->LookAt(std::move(addresses), std::move(done));
  }
  void Forget(uint32_t node, std::function<void(absl::Status)> done) override;
  std::string why() const override;
  std::string note() const override;
  bool refuses_all() const override { return refuses_all_ || aside_; }
  base::ClusterView view() const override;
  void Call(uint32_t node, base::NodeCall call, absl::Duration within,
            base::NodeAnswer done) override;
  void ServeCalls(base::ServeNode serve) override {
    base::MutexLock lock(mutex_);
    serve_ = std::move(serve);
  }

 private:
  // ---- cluster::MembershipHandler
  void OnAdmitted(NodeLife self, const cluster::Members& members) override;
  void OnMembers(const cluster::Members& members) override;
  void OnLifeOver() override;
  void OnLease(bool holds) override;
  void SetClosed(const std::string& why, std::function<void()> done);
  void OnLeaseUntil(absl::Duration since_boot) override {
    lease_.since_boot_ns.store(absl::ToInt64Nanoseconds(since_boot), std::memory_order_relaxed);
  }
  void OnStopped(const absl::Status& why) override { use_.on_stopped(why); }
  void OnFrame(cluster::ReceivedFrame frame) override;
  void OnUp(NodeLife peer) override;
  void OnDown(storage::NodeId peer) override;
  void OnRoom(storage::NodeId peer) override {
    if (const auto traffic = traffic_.load()) traffic->OnRoom(peer);
  }
  void OnAdmin(const pb::AdminRequest& request,
               std::function<void(const pb::AdminResponse&)> answer) override;

  // ---- cluster::TrafficLocal
  void Submit(const storage::ShardAddress& from,
              std::vector<storage::Addressed> requests) override {
    use_.host->Submit(from, std::move(requests));
  }
  void OnHostMessage(NodeLife from, storage::HostMessage message) override {
    if (const auto* const told = std::get_if<storage::FeedRoutes>(&message)) {
      base::MutexLock lock(feeds_mutex_);
      uint64_t& feed = feeds_[told->partition];
      if (told->feed >= feed) fed_by_[told->partition] = from.node;
      feed = std::max(feed, told->feed);
    }
    use_.host->OnHostMessage(from.node, from.incarnation, std::move(message));
  }
  void Resync(storage::NodeId node, std::function<void()> begins) override {
    use_.host->Resync(node, std::move(begins));
  }
  void Post(storage::ShardId shard,
            std::unique_ptr<base::Batch<broker::ShardTask>> tasks) override {
    use_.server->PostTasks(shard, std::move(tasks));
  }

  // ---- storage::EventSink, on the host's thread.
  bool MayPublish(const storage::SessionUser& author, std::string_view topic) const override {
    return use_.server->MayPublish(author, topic);
  }
  bool MayRead(const storage::SessionUser& reader, std::string_view topic) const override {
    return use_.server->MayRead(reader, topic);
  }
  void Post(const storage::ShardAddress& to, std::vector<storage::Event> events) override {
    if (to.node == self_.node) {
      use_.server->Post(to, std::move(events));
    } else {
      traffic_.load()->SendEvents(to, std::move(events));
    }
  }

  broker::Fenced FencedWithoutLease() const {
    return serve_without_quorum_ ? broker::Fenced::kSessions : broker::Fenced::kEverybody;
  }

  const bool serve_without_quorum_;
  broker::LeaseEnd lease_;
  std::unique_ptr<cluster::Membership> membership_;
  std::atomic<bool> refuses_all_{false};
  std::atomic<bool> holds_none_{false};
  std::atomic<bool> aside_{false};
  storage::ShardId shards_ = 0;
  LateForwarder forwarder_;
  Use use_;

  // ---- Set once, on the membership's thread, before the server and the host start.
  NodeLife self_;
  std::unique_ptr<cluster::Traffic> owned_traffic_;
  std::atomic<cluster::Traffic*> traffic_{nullptr};
  std::atomic<bool> served_{false};
  bool given_up_ = false;
  base::Mutex start_mutex_;
  bool stopping_ ABSL_GUARDED_BY(start_mutex_) = false;

  // Who leads partitions without a replica here: whose feed of routes is the newest.
  mutable base::Mutex feeds_mutex_;
  std::map<storage::PartitionId, uint64_t> feeds_ ABSL_GUARDED_BY(feeds_mutex_);
  std::map<storage::PartitionId, storage::NodeId> fed_by_ ABSL_GUARDED_BY(feeds_mutex_);

  base::Mutex mutex_;
  base::ServeNode serve_ ABSL_GUARDED_BY(mutex_);  // Null: the API is not there yet.
  // Before there is traffic.
  std::map<storage::NodeId, NodeLife> up_ ABSL_GUARDED_BY(mutex_);
  std::map<storage::NodeId, cluster::EarlyFrames> early_ ABSL_GUARDED_BY(mutex_);
};

// ---- What an operator sees ----------------------------------------------------------------------

std::string ClusterSeat::why() const {
  if (std::string why = membership_->why(); !why.empty()) return why;
  return aside_
             ? "its storage takes nothing, so it leaves its clients to the other nodes until that "
               "works again: the log says more"
             : "";
}

base::ClusterView::Link ViewOf(const cluster::PeerReport& peer) {
  constexpr const char* kClasses[cluster::kLinkClasses] = {"control", "log", "traffic", "bulk"};
  base::ClusterView::Link link{.node = peer.node.value(),
                               .address = peer.address,
                               .up = peer.up,
                               .why = peer.why,
                               .round_trip_s = absl::ToDoubleSeconds(peer.round_trip),
                               .connected = peer.metrics->connected.value(),
                               .disconnected = peer.metrics->disconnected.value()};
  for (size_t i = 0; i < cluster::kLinkClasses; ++i) {
    const cluster::LinkClassMetrics& metrics = peer.metrics->classes[i];
    link.streams.push_back({.link_class = kClasses[i],
                            .items = metrics.items_sent.value(),
                            .bytes = metrics.bytes_sent.value(),
                            .frames = metrics.frames_sent.value(),
                            .dropped = metrics.items_dropped.value(),
                            .times_full = metrics.times_full.value(),
                            .items_on_way = peer.on_way[i].items,
                            .bytes_on_way = peer.on_way[i].bytes});
  }
  return link;
}

base::ClusterView::Traffic ViewOf(const cluster::TrafficMetrics& metrics) {
  return {.forwarded = metrics.messages_forwarded.value(),
          .received = metrics.messages_received.value(),
          .repeated = metrics.messages_repeated.value(),
          .dropped = metrics.messages_dropped.value(),
          .times_behind = metrics.times_behind.value(),
          .gaps = metrics.gaps.value(),
          .requests_sent = metrics.requests_sent.value(),
          .requests_dropped = metrics.requests_dropped.value(),
          .events_sent = metrics.events_sent.value(),
          .events_dropped = metrics.events_dropped.value(),
          .resyncs = metrics.resyncs.value(),
          .unreadable = metrics.unreadable.value()};
}

// Of a node that came with an empty data directory to where another was.
void TellLost(const cluster::Members& members, storage::NodeId self, base::ClusterView& view) {
  const storage::NodeId former = members.FormerAt(self);
  if (former == storage::NodeId()) return;
  view.replicas_lost = static_cast<uint32_t>(absl::popcount(members.PartitionsOn(former)));
  view.lost = absl::StrCat("this node holds no replicas: it is new where node ", former.value(),
                           " was, whose replicas are lost (",
                           base::Counted(view.replicas_lost, "partition"),
                           "). Stop no other node: docs/operations.md, Backups");
}

std::string ClusterSeat::note() const {
  if (!holds_none_) return "";
  base::ClusterView view;
  TellLost(membership_->members(), membership_->self().node, view);
  return view.lost.empty() ? "this node holds no replicas" : view.lost;
}

base::ClusterView ClusterSeat::view() const {
  base::ClusterView view;
  const cluster::Members members = membership_->members();
  const NodeLife self = membership_->self();
  view.cluster_id = members.cluster_id();
  view.node = self.node.value();
  view.incarnation = self.incarnation.value();
  view.holds_lease = membership_->holds_lease();
  view.times_apart = membership_->times_apart();
  view.aside = aside_;
  view.problem = why();
  for (const auto& [id, node] : members.nodes()) {
    view.members.push_back({.node = id.value(),
                            .uuid = node.uuid,
                            .incarnation = node.incarnation.value(),
                            .live = node.is_live(),
                            .has_replicas = members.HasReplicas(id),
                            .address = node.cluster_address,
                            .release = node.release,
                            .zone = node.zone,
                            .shards = node.shards});
  }
  const std::vector<storage::NodeId> leaders = membership_->leaders();
  for (size_t id = 0; id < members.partitions().size(); ++id) {
    const cluster::GroupReplicas& group = members.partitions()[id];
    base::ClusterView::Partition& partition = view.partitions.emplace_back();
    for (const cluster::GroupReplicas::Replica& replica : group.replicas)
      partition.replicas.push_back(replica.node.value());
    partition.preferred = group.leader.value();
    if (id < leaders.size()) partition.leader = leaders[id].value();
  }
  view.holds_replicas = members.HasReplicas(self.node);
  TellLost(members, self.node, view);
  {
    base::MutexLock lock(feeds_mutex_);
    for (const auto& [id, leader] : fed_by_) {
      const bool known = id < view.partitions.size() && view.partitions[id].leader == 0;
      const cluster::Node* const node = members.Find(leader);
      if (known && node != nullptr && node->is_live()) view.partitions[id].leader = leader.value();
    }
  }
  for (const cluster::PeerReport& peer : membership_->links().Report())
    view.links.push_back(ViewOf(peer));
  if (const cluster::Traffic* const traffic = traffic_.load()) {
    view.traffic = ViewOf(traffic->metrics());
    const cluster::NodeRoutes::Report routes = traffic->routes();
    view.routes_told = routes.told;
    for (const storage::NodeId node : routes.unknown) view.routes_unknown.push_back(node.value());
    for (const storage::NodeId node : routes.unaware) view.routes_unaware.push_back(node.value());
  }
  return view;
}

void ClusterSeat::Forget(uint32_t node, std::function<void(absl::Status)> done) {
  if (node > 0xFFFF) {
    return done(absl::NotFoundError(absl::StrCat("the cluster has no node ", node)));
  }
  membership_->Forget(storage::NodeId(static_cast<uint16_t>(node)), std::move(done));
}

// ---- Calls of the admin API ---------------------------------------------------------------------

void ToProto(const base::NodeConnection& connection, pb::AdminConnection& proto) {
  proto.set_node(connection.node);
  proto.set_incarnation(connection.incarnation);
  proto.set_shard(connection.shard);
  proto.set_connection(connection.connection);
}

base::NodeConnection FromProto(const pb::AdminConnection& proto) {
  return {.node = proto.node(),
          .incarnation = proto.incarnation(),
          .shard = proto.shard(),
          .connection = proto.connection()};
}

void ClusterSeat::Call(uint32_t node, base::NodeCall call, absl::Duration within,
                       base::NodeAnswer done) {
  pb::AdminRequest request;
  request.set_method(std::move(call.method));
  request.set_request(std::move(call.request));
  request.set_caller(std::move(call.caller));
  request.set_caller_address(std::move(call.address));
  request.set_role(call.role);
  if (call.connection.has_value()) ToProto(*call.connection, *request.mutable_connection());
  request.set_names_led(call.names_led);
  membership_->links().Admin(storage::NodeId(static_cast<uint16_t>(node)), request, within,
                             [done = std::move(done)](absl::StatusOr<pb::AdminResponse> answer) {
                               if (!answer.ok()) return done(answer.status());
                               base::NodeReply reply;
                               if (answer->code() != 0)
                                 reply.status =
                                     absl::Status(static_cast<absl::StatusCode>(answer->code()),
                                                  answer->words());
                               reply.response = std::move(*answer->mutable_response());
                               if (answer->has_elsewhere())
                                 reply.elsewhere = FromProto(answer->elsewhere());
                               reply.not_led = answer->not_led();
                               if (answer->has_led()) reply.led = answer->led();
                               done(std::move(reply));
                             });
}

void ClusterSeat::OnAdmin(const pb::AdminRequest& request,
                          std::function<void(const pb::AdminResponse&)> answer) {
  base::ServeNode serve;
  {
    base::MutexLock lock(mutex_);
    serve = serve_;
  }
  if (serve == nullptr) return;
  base::NodeCall call{.method = request.method(),
                      .request = request.request(),
                      .caller = request.caller(),
                      .address = request.caller_address(),
                      .role = request.role()};
  if (request.has_connection()) call.connection = FromProto(request.connection());
  call.names_led = request.names_led();
  serve(request.from().node(), std::move(call),
        [answer = std::move(answer)](const base::NodeReply& reply) {
          pb::AdminResponse response;
          response.set_code(static_cast<uint32_t>(reply.status.code()));
          response.set_words(std::string(reply.status.message()));
          response.set_response(reply.response);
          if (reply.elsewhere.has_value()) ToProto(*reply.elsewhere, *response.mutable_elsewhere());
          response.set_not_led(reply.not_led);
          if (reply.led.has_value()) response.set_led(*reply.led);
          answer(response);
        });
}

void ClusterSeat::OnAdmitted(NodeLife self, const cluster::Members& members) {
  base::MutexLock lock(start_mutex_);
  if (stopping_ || served_) return;
  self_ = self;
  const storage::PartitionMask replicas = members.PartitionsOn(self.node);
  const LiveNode here{self.node, self.incarnation, shards_, replicas};
  const std::vector<LiveNode> others = OthersIn(members, self.node);
  base::Log(base::LogLevel::kInfo, "cluster joined",
            {{"cluster", members.cluster_id()},
             {"node", self.node.value()},
             {"incarnation", self.incarnation.value()},
             {"other_nodes", others.size()},
             {"replicas", absl::popcount(replicas)}});
  holds_none_ = replicas == 0;
  if (replicas == 0) {
    base::Log(
        base::LogLevel::kInfo,
        "this node holds no replicas: it serves clients, and what is stored is with the nodes "
        "that founded the cluster",
        {});
  }
  owned_traffic_ = std::make_unique<cluster::Traffic>(cluster::TrafficOptions{}, here,
                                                      membership_->links(), *this);
  forwarder_.Use(*owned_traffic_);
  use_.host->SetSend([this](storage::NodeId to, const storage::HostMessage& message) {
    owned_traffic_->SendHostMessage(to, message);
  });
  use_.host->SetDoor([this](const std::string& why, std::function<void()> done) {
    SetClosed(why, std::move(done));
  });
  use_.host->SetNodes(here, others);
  owned_traffic_->SetNodes(others);
  {
    base::MutexLock traffic_lock(mutex_);
    for (const auto& [id, life] : std::exchange(up_, {})) owned_traffic_->OnUp(life);
    for (auto& [id, early] : std::exchange(early_, {})) {
      for (cluster::ReceivedFrame& frame : early.Take()) owned_traffic_->OnFrame(std::move(frame));
    }
    traffic_ = owned_traffic_.get();  // Only now: no frame overtakes those that came early.
  }
  served_ = true;
  use_.server->Start(*use_.host, *owned_traffic_, use_.on_ready);
}

void ClusterSeat::OnLifeOver() {
  if (!served_ || std::exchange(given_up_, true)) return;
  base::Log(base::LogLevel::kWarning,
            "the cluster gave this node up while it could not be reached: it has to start anew",
            {{"incarnation", self_.incarnation.value()}});
  use_.on_given_up();
}

void ClusterSeat::OnMembers(const cluster::Members& members) {
  if (!served_ || given_up_) return;
  const std::vector<LiveNode> others = OthersIn(members, self_.node);
  use_.host->SetNodes({self_.node, self_.incarnation, shards_, members.PartitionsOn(self_.node)},
                      others);
  owned_traffic_->SetNodes(others);
}

void ClusterSeat::OnLease(bool holds) {
  base::Log(holds ? base::LogLevel::kInfo : base::LogLevel::kError,
            holds ? "the cluster is whole enough: sessions that are kept are served"
            : serve_without_quorum_
                ? "most nodes of the cluster cannot be reached: sessions that are kept are not "
                  "served, clients without are"
                : "most nodes of the cluster cannot be reached: nobody is served");
  refuses_all_ = !holds && !serve_without_quorum_;
  if (cluster::Traffic* const traffic = traffic_.load()) traffic->SetDegraded(!holds);
  use_.server->Fence(holds ? broker::Fenced::kNobody : FencedWithoutLease());
}

// From the host: see storage::Aside.
void ClusterSeat::SetClosed(const std::string& why, std::function<void()> done) {
  aside_ = !why.empty();
  if (aside_) {
    base::Log(
        base::LogLevel::kError,
        "this node steps aside: others wait for it, and its storage takes nothing; its clients "
        "are to go on at the other nodes",
        {{"why", why}});
  } else {
    base::Log(base::LogLevel::kInfo, "storage has caught up: this node serves clients again");
  }
  use_.server->StepAside(aside_, std::move(done));
}

void ClusterSeat::OnFrame(cluster::ReceivedFrame frame) {
  if (cluster::Traffic* const traffic = traffic_.load()) return traffic->OnFrame(std::move(frame));
  base::MutexLock lock(mutex_);
  if (cluster::Traffic* const traffic = traffic_.load()) return traffic->OnFrame(std::move(frame));
  early_[frame.from().node].Add(std::move(frame));
}

void ClusterSeat::OnUp(NodeLife peer) {
  base::MutexLock lock(mutex_);
  if (cluster::Traffic* const traffic = traffic_.load()) return traffic->OnUp(peer);
  up_[peer.node] = peer;
}

void ClusterSeat::OnDown(storage::NodeId peer) {
  base::MutexLock lock(mutex_);
  if (cluster::Traffic* const traffic = traffic_.load()) return traffic->OnDown(peer);
  up_.erase(peer);
}

std::vector<std::string> Addresses(const std::string& list) {
  std::vector<std::string> addresses;
  for (const absl::string_view one : absl::StrSplit(list, ',', absl::SkipWhitespace()))
    addresses.emplace_back(absl::StripAsciiWhitespace(one));
  return addresses;
}

cluster::LinkOptions LinksOf(const config::ClusterOptions& wanted) {
  cluster::LinkOptions links;
  links.listen = wanted.listen;
  links.tls = {.cert_file = wanted.cert_file,
               .key_file = wanted.key_file,
               .ca_file = wanted.ca_file,
               .check_names = true};
  links.allow_plaintext = wanted.allow_plaintext;
  return links;
}

}  // namespace

absl::Status CheckSeat(const config::ClusterOptions& wanted) {
  return wanted.on() ? cluster::Links::Check(LinksOf(wanted)) : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Seat>> MakeSeat(const config::Config& config) {
  const config::ClusterOptions& wanted = config.cluster;
  if (!wanted.on()) {
    RETURN_IF_ERROR(cluster::MayBeAlone(config.storage.data_dir));
    return nullptr;
  }
  cluster::MembershipOptions options;
  options.directory = config.storage.data_dir;
  options.links = LinksOf(wanted);
  options.advertise = wanted.advertise;
  options.dns = wanted.dns;
  options.bootstrap.seeds = Addresses(wanted.seeds);
  options.bootstrap.expected_size = wanted.expected_size;
  options.bootstrap.partitions = config.storage.partitions;
  options.bootstrap.replicas = wanted.replicas;
  options.bootstrap.zone = wanted.zone;
  options.bootstrap.release = std::string(base::kVersion);
  options.bootstrap.level_max = cluster::kLevelKnown;
  auto seat = std::make_unique<ClusterSeat>(wanted.serve_without_quorum);
  RETURN_IF_ERROR(seat->Open(std::move(options)));
  return seat;
}

}  // namespace node
