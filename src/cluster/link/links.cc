#include "cluster/link/links.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/done_within.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "cluster/link/calls.h"
#include "cluster/link/credentials.h"
#include "cluster/link/in_links.h"
#include "cluster/link/out_stream.h"
#include "cluster/link/peer.h"
#include "mqttd/cluster/v1/link.pb.h"

namespace cluster {

namespace pb = ::mqttd::cluster::v1;

namespace {

constexpr LinkClass kClasses[kLinkClasses] = {LinkClass::kControl, LinkClass::kLog,
                                              LinkClass::kTraffic, LinkClass::kBulk};
constexpr const char* kMeet = "/mqttd.cluster.v1.Link/Meet";
constexpr const char* kJoin = "/mqttd.cluster.v1.Link/Join";
constexpr const char* kAdmin = "/mqttd.cluster.v1.Link/Admin";

// For the files of TLS, at the stop.
constexpr absl::Duration kFilesPatience = absl::Seconds(1);

// Of answers over a link, the longest: a page of an operator's list.
constexpr int kAnswerBytesMax = 16 << 20;

// What streams tell the links' thread. `link` is the attempt that they belong to.
struct Happened {
  enum class What { kWelcome, kRefused, kPong, kEnd, kCalled };
  NodeId peer;
  uint64_t link = 0;
  What what = What::kEnd;
  NodeLife life;
  uint64_t pong = 0;
  std::string why;
  std::string caller;  // As gRPC says it.
  Incarnation ended;
};

// How many streams there are something left of.
class OpenStreams {
 public:
  void Add(int n) {
    base::MutexLock lock(mutex_);
    count_ += n;
    if (count_ == 0) none_.SignalAll();
  }
  void WaitForNone() {
    base::MutexLock lock(mutex_);
    while (count_ != 0) none_.Wait(mutex_);
  }

 private:
  base::Mutex mutex_;
  base::CondVar none_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// One try to connect to a node, and what came of it. Lives until its streams are over.
class OutLink final : public OutStream::Owner {
 public:
  using Post = std::function<void(Happened)>;
  OutLink(NodeId peer, uint64_t number, LinkHandler& handler, Post post)
      : peer_(peer), number_(number), handler_(handler), post_(std::move(post)) {}

  void OnWelcome(LinkClass, NodeLife life) override {
    post_({.peer = peer_, .link = number_, .what = Happened::What::kWelcome, .life = life});
  }
  void OnRefused(LinkClass, std::string why, Incarnation ended) override {
    post_({.peer = peer_,
           .link = number_,
           .what = Happened::What::kRefused,
           .why = std::move(why),
           .ended = ended});
  }
  void OnRoom(LinkClass link_class) override { handler_.OnRoom(peer_, link_class); }
  void OnPong(uint64_t pong) override {
    post_({.peer = peer_, .link = number_, .what = Happened::What::kPong, .pong = pong});
  }
  void OnEnd(LinkClass, std::string why) override {
    post_({.peer = peer_,
           .link = number_,
           .what = Happened::What::kEnd,
           .why = InOperatorsWords(why)});
  }

  std::array<std::shared_ptr<grpc::Channel>, 2> channels;

 private:
  const NodeId peer_;
  const uint64_t number_;
  LinkHandler& handler_;
  const Post post_;
};

class RealLinks final : public Links {
 public:
  RealLinks(LinkOptions options, LinkHandler& handler, const base::Clock& clock)
      : options_(std::move(options)),
        handler_(handler),
        clock_(clock),
        in_links_(
            handler, metrics_,
            [this](NodeId peer, const std::string& caller) {
              mailbox_.PostOne({.peer = peer, .what = Happened::What::kCalled, .caller = caller});
            }),
        service_(*this),
        mailbox_([this] { Ring(); }) {}
  ~RealLinks() override { Stop(); }

  absl::Status Listen();

  void SetDoor(Door door) override;
  void SetPeers(std::map<NodeId, std::string> peers) override;
  LinkSend DoSend(NodeId to, LinkClass link_class, std::string_view item, bool more) override;
  bool IsFull(NodeId to, LinkClass link_class) const override;
  void Meet(const std::string& address, const pb::BootstrapView& view, absl::Duration within,
            std::function<void(absl::StatusOr<pb::BootstrapView>)> done) override;
  void Join(const std::string& address, const pb::JoinRequest& request, absl::Duration within,
            std::function<void(absl::StatusOr<pb::JoinResponse>)> done) override;
  void Admin(NodeId to, const pb::AdminRequest& request, absl::Duration within,
             std::function<void(absl::StatusOr<pb::AdminResponse>)> done) override;
  std::vector<PeerReport> Report() const override;
  const std::string& address() const override { return address_; }
  void Stop() override;

 private:
  using Streams = std::array<std::shared_ptr<OutStream>, kLinkClasses>;
  struct Peer {
    Peer(const LinkOptions& options, base::Rng rng) : state(options, rng) {}
    std::string address;
    PeerState state;
    uint64_t link = 0;
    bool told_up = false;  // Only then anything is sent: what it goes by is known to who sends.
    Streams streams;
    std::shared_ptr<grpc::Channel> bulk;  // Of the link; calls go by it as well.
    std::shared_ptr<PeerMetrics> metrics;
    std::string caller;          // Whence it has called, as gRPC says it.
    bool tried_by_name = false;  // The last try, which came to nothing.
    std::string told;            // What was logged last.
  };
  // What the handler is to be told when no lock is held.
  struct Told {
    NodeId peer;
    std::optional<NodeLife> up;
    uint64_t link = 0;  // That is up.
    std::string why;
    Incarnation ended;  // Not 0: that alone is told.
  };

  class Service final : public grpc::CallbackGenericService {
   public:
    explicit Service(RealLinks& links) : links_(links) {}
    grpc::ServerGenericBidiReactor* CreateReactor(
        grpc::GenericCallbackServerContext* context) override {
      return links_.Serve(context->method(), context->peer());
    }

   private:
    RealLinks& links_;
  };

  grpc::ServerGenericBidiReactor* Serve(const std::string& method, const std::string& caller);
  // `host`: what the certificate there names, if `address` does not.
  std::shared_ptr<grpc::Channel> NewChannel(const std::string& address,
                                            const std::string& host = "") const;
  std::shared_ptr<OutStream> Find(NodeId to, LinkClass link_class) const;

  void Ring();
  void Keep();
  void On(Happened& happened) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LookAfter(NodeId id, Peer& peer, absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Connect(NodeId id, Peer& peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TearDown(NodeId id, Peer& peer, bool was_up) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Lose(NodeId id, Peer& peer, std::string why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  pb::Hello HelloTo(NodeId id, uint64_t link) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string WhyNotAdmitted(const pb::Hello& caller) const;
  void NoteToldUp(const Told& told);
  void Tell(const std::vector<Told>& told);

  const LinkOptions options_;
  LinkHandler& handler_;
  const base::Clock& clock_;
  PeerMetricsTable metrics_;
  InLinks in_links_;
  Service service_;
  LinkCredentials credentials_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  Calls calls_;
  OpenStreams open_streams_;

  base::Mailbox<Happened> mailbox_;
  mutable base::Mutex mutex_;
  std::map<NodeId, Peer> peers_ ABSL_GUARDED_BY(mutex_);
  Door door_ ABSL_GUARDED_BY(mutex_);
  base::Rng rng_ ABSL_GUARDED_BY(mutex_) = base::Rng::FromEntropy();
  uint64_t last_link_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Told> to_tell_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<std::shared_ptr<OutStream>, std::string>> to_close_ ABSL_GUARDED_BY(mutex_);

  base::Mutex wake_mutex_;
  base::CondVar wake_;
  bool rung_ ABSL_GUARDED_BY(wake_mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(wake_mutex_) = false;
  std::thread thread_;
  bool stopped_ = false;
};

// ---- Listening ----------------------------------------------------------------------------------

absl::Status RealLinks::Listen() {
  ASSIGN_OR_RETURN(credentials_, MakeLinkCredentials(options_));
  const size_t colon = options_.listen.rfind(':');
  if (colon == std::string::npos)
    return absl::InvalidArgumentError(
        absl::StrCat("\"", options_.listen, "\" is no address to listen at: HOST:PORT is"));
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options_.listen, credentials_.server, &port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 128);
  // A peer that went without a word.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(options_.item_bytes_max + options_.frame_bytes_max + 4096));
  builder.RegisterCallbackGenericService(&service_);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port == 0) {
    server_.reset();
    return absl::UnavailableError(
        absl::StrCat("cannot listen for other nodes at ", options_.listen,
                     options_.tls.cert_file.empty()
                         ? ": another process has the port, or the address is not of this machine"
                         : ": another process has the port, or the address is not of this machine, "
                           "or the key is "
                           "not the certificate's"));
  }
  address_ = absl::StrCat(options_.listen.substr(0, colon), ":", port);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "links");
    Keep();
  });
  return absl::OkStatus();
}

grpc::ServerGenericBidiReactor* RealLinks::Serve(const std::string& method,
                                                 const std::string& caller) {
  for (const LinkClass link_class : kClasses) {
    if (method == MethodOf(link_class))
      return InStream::Start(link_class, options_, caller, in_links_);
  }
  if (method == kMeet) {
    return ServeCall([this](const std::string& request, Answer answer) {
      pb::BootstrapView view;
      if (!view.ParseFromString(request)) return;
      handler_.OnMeet(view, [answer = std::move(answer)](const pb::BootstrapView& mine) {
        answer(mine.SerializeAsString());
      });
    });
  }
  if (method == kJoin) {
    return ServeCall([this](const std::string& bytes, Answer answer) {
      pb::JoinRequest request;
      if (!request.ParseFromString(bytes)) return;
      handler_.OnJoin(request, [answer = std::move(answer)](const pb::JoinResponse& response) {
        answer(response.SerializeAsString());
      });
    });
  }
  if (method == kAdmin) {
    return ServeCall([this](const std::string& bytes, Answer answer) {
      pb::AdminRequest request;
      if (!request.ParseFromString(bytes)) return;
      pb::AdminResponse refusal;
      refusal.set_refused(WhyNotAdmitted(request.from()));
      if (!refusal.refused().empty()) return answer(refusal.SerializeAsString());
      handler_.OnAdmin(request, [answer = std::move(answer)](const pb::AdminResponse& response) {
        answer(response.SerializeAsString());
      });
    });
  }
  return ServeCall([](const std::string&, const Answer&) {});
}

std::string RealLinks::WhyNotAdmitted(const pb::Hello& caller) const {
  base::MutexLock lock(mutex_);
  return WhyNotWelcome(caller, door_);
}

// ---- What others ask for ------------------------------------------------------------------------

void RealLinks::SetDoor(Door door) {
  in_links_.SetDoor(std::make_shared<const Door>(door));
  {
    base::MutexLock lock(mutex_);
    const bool other_self = door_.self != door.self || door_.cluster_id != door.cluster_id;
    door_ = std::move(door);
    for (auto& [id, peer] : peers_) {
      const auto known = door_.nodes.find(id);
      const bool gone =
          known == door_.nodes.end() || known->second.gone_through >= peer.state.life().incarnation;
      if (other_self) {
        if (peer.state.phase() != PeerState::Phase::kDown)
          Lose(id, peer, "this node has begun another life");
        peer.state.TryAtOnce();
      } else if (gone && peer.state.phase() == PeerState::Phase::kUp) {
        Lose(id, peer, "that life of the node has ended");
      }
    }
  }
  Ring();
}

void RealLinks::SetPeers(std::map<NodeId, std::string> peers) {
  {
    base::MutexLock lock(mutex_);
    for (auto it = peers_.begin(); it != peers_.end();) {
      const auto wanted = peers.find(it->first);
      if (wanted != peers.end() && wanted->second == it->second.address) {
        ++it;
        continue;
      }
      const bool up = it->second.state.phase() == PeerState::Phase::kUp;
      it->second.state.Lose(clock_.Monotonic(), "the node is no peer any more");
      TearDown(it->first, it->second, up);
      it = peers_.erase(it);
    }
    for (const auto& [id, address] : peers) {
      const auto [it, added] = peers_.try_emplace(id, options_, rng_.Fork());
      if (!added) continue;
      it->second.address = address;
      it->second.metrics = metrics_.Of(id);
    }
  }
  Ring();
}

std::shared_ptr<OutStream> RealLinks::Find(NodeId to, LinkClass link_class) const {
  base::MutexLock lock(mutex_);
  const auto it = peers_.find(to);
  if (it == peers_.end() || !it->second.told_up) return nullptr;
  return it->second.streams[static_cast<size_t>(link_class)];
}

LinkSend RealLinks::DoSend(NodeId to, LinkClass link_class, std::string_view item, bool more) {
  const std::shared_ptr<OutStream> stream = Find(to, link_class);
  if (item.size() > options_.item_bytes_max) {
    if (stream != nullptr) stream->Flush();
    return LinkSend::kTooLarge;
  }
  return stream == nullptr ? LinkSend::kDown : stream->Send(item, more);
}

bool RealLinks::IsFull(NodeId to, LinkClass link_class) const {
  const std::shared_ptr<OutStream> stream = Find(to, link_class);
  return stream != nullptr && stream->IsFull();
}

void RealLinks::Meet(const std::string& address, const pb::BootstrapView& view,
                     absl::Duration within,
                     std::function<void(absl::StatusOr<pb::BootstrapView>)> done) {
  calls_.Call(NewChannel(address), kMeet, view.SerializeAsString(), within,
              [done = std::move(done)](absl::StatusOr<std::string> answer) {
                if (!answer.ok()) return done(answer.status());
                pb::BootstrapView theirs;
                if (!theirs.ParseFromString(*answer))
                  return done(absl::UnavailableError("the answer cannot be read"));
                done(std::move(theirs));
              });
}

void RealLinks::Join(const std::string& address, const pb::JoinRequest& request,
                     absl::Duration within,
                     std::function<void(absl::StatusOr<pb::JoinResponse>)> done) {
  calls_.Call(NewChannel(address), kJoin, request.SerializeAsString(), within,
              [done = std::move(done)](absl::StatusOr<std::string> answer) {
                if (!answer.ok()) return done(answer.status());
                pb::JoinResponse response;
                if (!response.ParseFromString(*answer))
                  return done(absl::UnavailableError("the answer cannot be read"));
                done(std::move(response));
              });
}

void RealLinks::Admin(NodeId to, const pb::AdminRequest& request, absl::Duration within,
                      std::function<void(absl::StatusOr<pb::AdminResponse>)> done) {
  pb::AdminRequest named = request;
  std::shared_ptr<grpc::Channel> channel;
  std::string why = "it is no member that this node knows";
  uint64_t link = 0;
  const auto is_up = [this, to, &link]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto it = peers_.find(to);
    return it != peers_.end() && it->second.state.phase() == PeerState::Phase::kUp &&
           (link == 0 || it->second.link == link);
  };
  {
    base::MutexLock lock(mutex_);
    const auto it = peers_.find(to);
    if (it != peers_.end()) why = it->second.state.why();
    if (is_up()) {
      channel = it->second.bulk;
      link = it->second.link;
      *named.mutable_from() = HelloTo(to, 0);
    }
  }
  if (channel == nullptr) return done(absl::UnavailableError(why));
  calls_.Call(
      std::move(channel), kAdmin, named.SerializeAsString(), within,
      [done = std::move(done)](absl::StatusOr<std::string> answer) {
        if (!answer.ok()) return done(answer.status());
        pb::AdminResponse response;
        if (!response.ParseFromString(*answer))
          return done(absl::UnavailableError("the answer cannot be read"));
        if (!response.refused().empty())
          return done(absl::UnavailableError("it refuses this node: " + response.refused()));
        done(std::move(response));
      },
      link);
  bool lost = false;  // Before the call was there to be ended with it.
  {
    base::MutexLock lock(mutex_);
    lost = !is_up();
  }
  if (lost) calls_.CancelLink(link);
}

std::vector<PeerReport> RealLinks::Report() const {
  base::MutexLock lock(mutex_);
  std::vector<PeerReport> reports;
  for (const auto& [id, peer] : peers_) {
    reports.push_back({.node = id,
                       .address = peer.address,
                       .up = peer.state.phase() == PeerState::Phase::kUp,
                       .life = peer.state.life(),
                       .round_trip = peer.state.round_trip(),
                       .why = peer.state.why(),
                       .metrics = peer.metrics});
    for (size_t i = 0; i < kLinkClasses; ++i) {
      if (peer.streams[i] != nullptr) reports.back().on_way[i] = peer.streams[i]->on_way();
    }
  }
  return reports;
}

// ---- The links' thread --------------------------------------------------------------------------

void RealLinks::Ring() {
  base::MutexLock lock(wake_mutex_);
  rung_ = true;
  wake_.SignalOne();
}

void RealLinks::Keep() {
  while (true) {
    absl::Duration next = absl::InfiniteDuration();
    std::vector<Told> told;
    std::vector<std::pair<std::shared_ptr<OutStream>, std::string>> close;
    std::vector<Happened> all;
    mailbox_.TakeAll([&](Happened&& happened) { all.push_back(std::move(happened)); });
    {
      base::MutexLock lock(mutex_);
      for (Happened& happened : all) On(happened);
      const absl::Duration now = clock_.Monotonic();
      for (auto& [id, peer] : peers_) {
        if (door_.cluster_id.empty()) break;  // We are nobody yet.
        LookAfter(id, peer, now);
        next = std::min(next, peer.state.next_look());
      }
      told = std::exchange(to_tell_, {});
      close = std::exchange(to_close_, {});
    }
    for (auto& [stream, why] : close) stream->Close(std::move(why));
    Tell(told);
    base::MutexLock lock(wake_mutex_);
    if (stopping_) return;
    const absl::Duration now = clock_.Monotonic();
    if (mailbox_.Sleep() && !rung_ && now < next)
      wake_.WaitFor(wake_mutex_, std::min(next - now, absl::Seconds(1)));
    mailbox_.Awake();
    rung_ = false;
  }
}

void RealLinks::On(Happened& happened) {
  const auto it = peers_.find(happened.peer);
  if (it == peers_.end()) return;
  Peer& peer = it->second;
  if (happened.what == Happened::What::kCalled) {
    peer.caller = std::move(happened.caller);
    return peer.state.OnCalled();
  }
  if (peer.link != happened.link) return;
  if (peer.state.phase() == PeerState::Phase::kDown) return;
  const absl::Duration now = clock_.Monotonic();
  switch (happened.what) {
    case Happened::What::kWelcome:
      if (!peer.state.OnWelcome(happened.life, now)) return;
      peer.metrics->connected.Add();
      peer.tried_by_name = false;
      peer.caller.clear();
      peer.told.clear();
      base::Log(base::LogLevel::kInfo, "node connected",
                {{"node", it->first.value()},
                 {"incarnation", happened.life.incarnation.value()},
                 {"address", peer.address}});
      to_tell_.push_back({.peer = it->first, .up = happened.life, .link = happened.link});
      return;
    case Happened::What::kPong:
      peer.state.OnPong(absl::Nanoseconds(static_cast<int64_t>(happened.pong)), now);
      return;
    case Happened::What::kRefused:
      if (happened.ended != Incarnation())
        to_tell_.push_back({.peer = it->first, .ended = happened.ended});
      return Lose(it->first, peer, absl::StrCat("it refuses this node: ", happened.why));
    case Happened::What::kCalled:
      return;
    case Happened::What::kEnd:
      return Lose(it->first, peer, std::move(happened.why));
  }
}

void RealLinks::LookAfter(NodeId id, Peer& peer, absl::Duration now) {
  const bool was_up = peer.state.phase() == PeerState::Phase::kUp;
  switch (peer.state.Look(now)) {
    case PeerState::Wish::kNothing:
      return;
    case PeerState::Wish::kConnect:
      return Connect(id, peer);
    case PeerState::Wish::kPing:
      return peer.streams[static_cast<size_t>(LinkClass::kControl)]->Ping(
          static_cast<uint64_t>(absl::ToInt64Nanoseconds(now)));
    case PeerState::Wish::kGiveUp:
      return TearDown(id, peer, was_up);
  }
}

std::shared_ptr<grpc::Channel> RealLinks::NewChannel(const std::string& address,
                                                     const std::string& host) const {
  grpc::ChannelArguments arguments;
  // Each link has connections of its own, and no memory of what failed before: when to try again is
  // decided here.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (!host.empty()) arguments.SetSslTargetNameOverride(host);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options_.connect_within)));
  arguments.SetMaxReceiveMessageSize(kAnswerBytesMax);
  arguments.SetMaxSendMessageSize(-1);
  return grpc::CreateCustomChannel(address, credentials_.channel, arguments);
}

pb::Hello RealLinks::HelloTo(NodeId id, uint64_t link) const {
  pb::Hello hello;
  hello.set_cluster_id(door_.cluster_id);
  hello.set_uuid(door_.uuid);
  hello.set_node(door_.self.node.value());
  hello.set_incarnation(door_.self.incarnation.value());
  hello.set_to_node(id.value());
  hello.set_release(door_.release);
  hello.set_version_min(kLinkVersionMin);
  hello.set_version_max(kLinkVersionMax);
  hello.set_link(link);
  return hello;
}

void RealLinks::Connect(NodeId id, Peer& peer) {
  peer.link = ++last_link_;
  const auto link = std::make_shared<OutLink>(id, peer.link, handler_, [this](Happened happened) {
    mailbox_.PostOne(std::move(happened));
  });
  // Snapshots have a connection of their own: what is urgent never waits in a socket behind them.
  // Name servers give out a node's former address for a while after it has moved.
  const std::string caller = AddressOfCaller(peer.caller, peer.address);
  const bool by_name = caller.empty() || !peer.tried_by_name;
  if (!by_name) peer.caller.clear();
  peer.tried_by_name = by_name;
  const std::string host = peer.address.substr(0, peer.address.rfind(':'));
  for (auto& channel : link->channels)
    channel = by_name ? NewChannel(peer.address) : NewChannel(caller, host);
  pb::ToPeer first;
  *first.mutable_hello() = HelloTo(id, peer.link);
  const std::string hello = first.SerializeAsString();
  peer.bulk = link->channels[1];
  for (const LinkClass link_class : kClasses) {
    grpc::GenericStub stub(link->channels[link_class == LinkClass::kBulk ? 1 : 0]);
    open_streams_.Add(1);
    auto& stream = peer.streams[static_cast<size_t>(link_class)];
    stream = OutStream::Create(link_class, options_, (*peer.metrics)[link_class], hello, link,
                               [this] { open_streams_.Add(-1); });
    stream->Open(stub);
  }
}

void RealLinks::TearDown(NodeId id, Peer& peer, bool was_up) {
  for (std::shared_ptr<OutStream>& stream : peer.streams) {
    if (stream != nullptr) to_close_.emplace_back(std::move(stream), peer.state.why());
    stream = nullptr;
  }
  if (was_up) calls_.CancelLink(peer.link);
  peer.bulk = nullptr;
  peer.link = 0;
  peer.told_up = false;
  (was_up ? peer.metrics->disconnected : peer.metrics->failed).Add();
  if (std::exchange(peer.told, peer.state.why()) != peer.state.why()) {
    base::Log(base::LogLevel::kWarning,
              was_up ? "node disconnected" : "node cannot be connected to",
              {{"node", id.value()}, {"address", peer.address}, {"why", peer.state.why()}});
  }
  if (was_up) to_tell_.push_back({.peer = id, .up = std::nullopt, .why = peer.state.why()});
}

void RealLinks::Lose(NodeId id, Peer& peer, std::string why) {
  const bool was_up = peer.state.phase() == PeerState::Phase::kUp;
  peer.state.Lose(clock_.Monotonic(), std::move(why));
  TearDown(id, peer, was_up);
}

// OnDown of the link before has been told by now: nobody sends over this one and believes that it
// is that one.
void RealLinks::NoteToldUp(const Told& told) {
  base::MutexLock lock(mutex_);
  const auto it = peers_.find(told.peer);
  if (it != peers_.end() && it->second.link == told.link) it->second.told_up = true;
}

void RealLinks::Tell(const std::vector<Told>& told) {
  for (const Told& one : told) {
    if (one.ended != Incarnation()) {
      handler_.OnLifeOver(one.ended);
    } else if (one.up.has_value()) {
      NoteToldUp(one);
      handler_.OnUp(*one.up);
    } else {
      handler_.OnDown(one.peer, one.why);
    }
  }
}

void RealLinks::Stop() {
  if (std::exchange(stopped_, true)) return;
  {
    base::MutexLock lock(wake_mutex_);
    stopping_ = true;
    wake_.SignalOne();
  }
  if (thread_.joinable()) thread_.join();
  std::vector<std::shared_ptr<OutStream>> streams;
  {
    base::MutexLock lock(mutex_);
    for (auto& [id, peer] : peers_) {
      for (std::shared_ptr<OutStream>& stream : peer.streams) {
        if (stream != nullptr) streams.push_back(std::move(stream));
      }
    }
    peers_.clear();
    for (auto& [stream, why] : std::exchange(to_close_, {})) streams.push_back(std::move(stream));
  }
  for (const std::shared_ptr<OutStream>& stream : streams) stream->Close("this node is stopped");
  streams.clear();
  // gRPC's threads end when the last channel or server of the process goes, and who lets it go
  // waits for them. A channel may go on one of these threads, which would wait for itself: so all
  // of them go before the server does.
  calls_.CancelAll();
  open_streams_.WaitForNone();
  if (server_ != nullptr) {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }
  if (credentials_.files == nullptr) return;
  // They may be on a mount that hangs.
  (void)base::DoneWithin(kFilesPatience,
                         [it = std::exchange(credentials_, {})]() mutable { it = {}; });
}

}  // namespace

absl::Status Links::Check(const LinkOptions& options) { return CheckLinkCredentials(options); }

absl::StatusOr<std::unique_ptr<Links>> Links::Start(LinkOptions options, LinkHandler& handler,
                                                    const base::Clock& clock) {
  auto links = std::make_unique<RealLinks>(std::move(options), handler, clock);
  RETURN_IF_ERROR(links->Listen());
  return links;
}

}  // namespace cluster
