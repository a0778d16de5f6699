#include "tests/cluster/sim/client.h"

#include <iterator>
#include <utility>

namespace simulator {
namespace {

using support::Packet;
using enum support::PacketType;
using enum support::PropertyId;

constexpr size_t kOutgoingMax = 12;
// The broker notices later that a client has gone, and a node that another one has.
constexpr int64_t kSilenceNs = 4'000'000'000;
constexpr int64_t kNoticedNs = 10'000'000'000;
constexpr absl::Duration kLeftOpen = absl::Seconds(8);
// Longer than any message is under way.
constexpr uint32_t kMessageExpiryS = 300;

}  // namespace

Client::Client(sim::Agenda& agenda, Doors& doors, History& history, const Journal& journal,
               base::Rng rng, Options options)
    : ClientSession(options.version),
      agenda_(agenda),
      doors_(doors),
      history_(history),
      journal_(journal),
      rng_(std::move(rng)),
      options_(std::move(options)) {
  EndSession();
}

void Client::Start() {
  agenda_.After(absl::Milliseconds(rng_.Between(0, 300)), [this] { Act(); });
}

void Client::CalmDown() { calm_ = true; }

void Client::Act() {
  if (calm_ && is_brief() && connected_) return SayGoodbye();
  if (line_ == nullptr) {
    const bool comes_back = (!calm_ || options_.durable) && !(calm_ && is_brief());
    if (comes_back && now_ns() >= back_at_ns_) Connect();
  } else if (connected_ && !calm_) {
    ActConnected();
  }
  const auto pause_ms = static_cast<int64_t>(static_cast<double>(rng_.Between(1, 150)) /
                                             (calm_ ? 0.3 : options_.pace));
  agenda_.After(absl::Milliseconds(pause_ms), [this] { Act(); });
}

void Client::ActConnected() {
  const uint64_t dice = rng_.Below(1000);
  if (dice < 700 || options_.steady) {
    if (options_.publishes) Publish();
    return;
  }
  if (dice < 830) {
    const std::string filter = SomeFilter();
    return Subscribe(filter, static_cast<unsigned>(FindShared(filter) != nullptr ? 1 + rng_.Below(2)
                                                                                 : rng_.Below(3)));
  }
  if (dice < 900) return Unsubscribe();
  if (dice < 930) return Break();
  if (dice < 950) return SayGoodbye();
  if (dice < 970) return TakeOver();
}

// ---- Connections --------------------------------------------------------------------------------

void Client::Connect() {
  ++connection_;
  const Doors::Door door = doors_.Connect();
  if (door.line == nullptr) {
    back_at_ns_ = now_ns() + rng_.Between(50, 300) * 1'000'000;
    return;
  }
  line_ = door.line;
  life_ = door.life;
  Say("connects to node ", door.node);
  line_->on_bytes = [this](std::string_view bytes) { TakeBytes(bytes); };
  line_->on_end = [this] { OnEnd(); };
  support::ConnectPacket connect{
      .version = options_.version, .client_id = options_.id, .clean = !options_.durable};
  if (options_.durable && options_.version == support::Version::k5)
    connect.properties.Number(kSessionExpiryInterval, options_.expiry_s);
  AddWill(connect);
  Send(connect.Encode());
}

void Client::AddWill(support::ConnectPacket& connect) {
  will_.clear();
  if (!options_.has_wills || !rng_.Chance(0.6)) return;
  will_ = absl::StrCat("will of ", options_.id, " ", connection_);
  const auto qos = static_cast<unsigned>(rng_.Below(3));
  const std::string topic = "w/" + options_.id;
  connect.will = support::Will{.topic = topic, .payload = will_, .qos = qos};
  history_.Add(will_, {.publisher = "will of " + options_.id,
                       .session = will_,
                       .number = connection_,
                       .topic = topic,
                       .qos = qos,
                       .is_will = true,
                       .sent_ns = now_ns()});
}

// Its client has not said goodbye.
void Client::WillIsDue() {
  Published* const will = history_.Find(will_);
  if (will == nullptr || !connected_) return;
  // It may have been fired since it was there: sent_ns stays.
  will->acknowledged_ns = now_ns();
  Say("has left its will ", will_);
}

void Client::LoseConnection() {
  if (line_ != nullptr) line_->on_bytes = nullptr, line_->on_end = nullptr;
  line_ = nullptr;
  connected_ = false;
  ForgetConnection();
  came_.clear();
  NoteConnectionLost();
  if (!options_.durable) EndSession();
}

void Client::EndSession() {
  ForgetExchanges();
  session_ = {};
  session_.client_id = options_.id;
  session_.name = SessionName();
  session_.durable = options_.durable;
}

void Client::Break() {
  Say("breaks its connection");
  WillIsDue();
  line_->Break();
  LoseConnection();
}

// The other connection stays until the broker ends it, or, if no second one comes about, for a
// while.
void Client::TakeOver() {
  if (options_.durable && rng_.Chance(0.5)) return;
  Say("connects a second time");
  std::shared_ptr<sim::Line> left = std::move(line_);
  left->on_bytes = nullptr;
  left->on_end = [this, will = will_] {
    if (Published* const due = history_.Find(will)) due->acknowledged_ns = now_ns();
  };
  agenda_.After(kLeftOpen, [left] {
    if (!left->on_end) return;
    std::exchange(left->on_end, nullptr)();
    left->Break();
  });
  LoseConnection();
  Connect();
}

void Client::SayGoodbye() {
  Say("says goodbye");
  back_at_ns_ = now_ns() + 100'000'000;  // Or a new connection might be there before the goodbye.
  Send(support::Disconnect(options_.version));
  line_->Finish();
  LoseConnection();
}

void Client::OnEnd() {
  Say("is sent away");
  WillIsDue();
  LoseConnection();
  back_at_ns_ = now_ns() + rng_.Between(1, 200) * 1'000'000;
}

void Client::OnSilence(uint64_t life) {
  if (line_ == nullptr || life != life_) return;
  line_->Vanish();
  NoteMemberGoes();  // Nodes may notice before it does.
  agenda_.After(absl::Milliseconds(rng_.Between(200, 3000)), [this, connection = connection_] {
    if (connection == connection_ && line_ != nullptr) OnEnd();
  });
}

// ---- What it publishes --------------------------------------------------------------------------

std::string Client::SomeTopic() {
  if (rng_.Below(10) == 0) return "r/" + options_.id;
  return absl::StrCat("t/", rng_.Below(4));
}

std::string Client::SessionName() const {
  return options_.durable ? options_.id : absl::StrCat(options_.id, " ", connection_);
}

// The least that is free, as many clients have it: identifiers are used again soon.
uint16_t Client::NextId() const {
  uint16_t id = 1;
  while (IsInUse(id)) ++id;
  return id;
}

void Client::Publish() {
  const std::string topic = SomeTopic();
  unsigned qos = static_cast<unsigned>(rng_.Below(5)) / 2;  // 0, 0, 1, 1, 2
  if (outgoing_.size() >= kOutgoingMax) qos = 0;
  const std::string payload = absl::StrCat(options_.id, " ", ++published_);
  history_.Add(payload, {.publisher = options_.id,
                         .session = SessionName(),
                         .connection = connection_,
                         .number = published_,
                         .topic = topic,
                         .qos = qos,
                         .retain = topic.starts_with("r/"),
                         .expires = options_.version == support::Version::k5 && rng_.Chance(0.5),
                         .sent_ns = now_ns(),
                         .accepts_once = qos == 2 && options_.durable});
  const uint16_t id = qos == 0 ? uint16_t{0} : NextId();
  if (qos != 0) outgoing_[id] = {.order = published_, .payload = payload};
  SendPublish(id, payload, false);
}

void Client::SendPublish(uint16_t packet_id, const std::string& payload, bool dup) {
  Published& message = *history_.Find(payload);
  if (dup) message.sent_again_ns.push_back(now_ns());
  Say("publishes \"", payload, "\" on ", message.topic, " at QoS ", message.qos, " as ", packet_id,
      dup ? " again" : "");
  support::Properties properties;
  if (message.expires) properties.Number(kMessageExpiryInterval, kMessageExpiryS);
  Send(support::PublishPacket{.topic = message.topic,
                              .payload = payload,
                              .qos = message.qos,
                              .packet_id = packet_id,
                              .retain = message.retain,
                              .dup = dup,
                              .properties = properties}
           .Encode(options_.version));
}

void Client::OnAcknowledged(const Packet& packet, const Outgoing& outgoing) {
  Published& message = *history_.Find(outgoing.payload);
  Say("gets ", std::string(support::Name(packet.type)), " for \"", outgoing.payload, "\"",
      packet.reason == 0 ? "" : absl::StrCat(", reason ", packet.reason));
  if (packet.type == kPubcomp) return;
  if (packet.reason >= 0x80) return history_.OnRefused(outgoing.payload);
  if (message.acknowledged_ns != kNever) return;
  message.acknowledged_ns = now_ns();
  message.acknowledged_by = life_;
}

// ---- What it subscribes to ----------------------------------------------------------------------

std::string Client::SomeFilter() {
  static const char* const kFilters[] = {"t/0", "t/1", "t/2", "t/3", "t/#",
                                         "t/+", "r/#", "w/#", "w/+"};
  if (options_.version != support::Version::k5 || !rng_.Chance(0.25))
    return kFilters[rng_.Below(std::size(kFilters))];
  const SharedFilter& shared = kSharedFilters[rng_.Below(std::size(kSharedFilters))];
  return shared.durable_only && !options_.durable ? "t/#" : shared.filter;
}

void Client::Subscribe(const std::string& filter, unsigned qos) {
  const uint16_t id = NextId();
  Ask(id, {.subscribe = true, .filter = filter});
  session_.ever_subscribed.insert(filter);
  if (qos == 0) session_.sure.erase(filter);
  NoteAsked(filter);
  Say("subscribes to ", filter, " at QoS ", qos, " as ", id);
  support::Properties properties;
  if (const SharedFilter* const shared = FindShared(filter))
    properties.Number(kSubscriptionIdentifier, shared->subscription_id);
  Send(support::Subscribe(options_.version, id, {{filter, qos}}, properties));
}

void Client::Unsubscribe() {
  const std::string filter = SomeFilter();
  const uint16_t id = NextId();
  Ask(id, {.subscribe = false, .filter = filter});
  session_.sure.erase(filter);
  NoteAsked(filter);
  Say("unsubscribes from ", filter, " as ", id);
  Send(support::Unsubscribe(options_.version, id, {filter}));
}

void Client::NoteAsked(const std::string& filter) {
  const SharedFilter* const shared = FindShared(filter);
  if (shared == nullptr || changing_.contains(filter)) return;
  changing_[filter] = history_.groups().Changes(*shared, Groups::Change::kMembership, now_ns());
}

void Client::NoteAnswered(const std::string& filter, int64_t through_ns) {
  const auto found = changing_.find(filter);
  if (found == changing_.end()) return;
  history_.groups().HasChanged(*FindShared(filter), found->second, through_ns);
  changing_.erase(found);
}

void Client::NoteConnectionLost() {
  while (!changing_.empty()) NoteAnswered(changing_.begin()->first, now_ns() + kNoticedNs);
  NoteMemberGoes();
}

void Client::NoteMemberGoes() {
  for (const SharedFilter& shared : kSharedFilters) {
    if (!session_.ever_subscribed.contains(shared.filter)) continue;
    history_.groups().Changes(
        shared, options_.durable ? Groups::Change::kConnection : Groups::Change::kSessionEnds,
        now_ns() - kSilenceNs, now_ns() + kNoticedNs);
  }
}

void Client::OnAnswered(const Packet& packet, const Asked& asked, bool is_latest) {
  Say("gets ", std::string(support::Name(packet.type)), " for ", asked.filter);
  if (is_latest) NoteAnswered(asked.filter, now_ns());
  if (!is_latest || !asked.subscribe) return;
  if (packet.reasons.size() == 1 && (packet.reasons[0] == 1 || packet.reasons[0] == 2))
    session_.sure.emplace(asked.filter, now_ns());
}

// ---- What comes ---------------------------------------------------------------------------------

void Client::OnUnreadable(const std::string& error, const Packet& packet) {
  history_.Fail("packets are well formed",
                absl::StrCat(options_.id, ": ", error, packet.ToString()));
}

void Client::OnUnexpected(const Packet& packet) {
  history_.Fail("answers belong to requests", options_.id + " got " + packet.ToString());
}

void Client::OnDisconnect(const Packet& packet) { Say("gets DISCONNECT, reason ", packet.reason); }

void Client::OnConnack(const Packet& packet) {
  if (packet.reason != 0) return Say("is refused, reason ", packet.reason);
  Say("is connected", packet.session_present() ? " to its session" : "");
  connected_ = true;
  if (options_.durable && was_connected_ && !is_brief() && !packet.session_present()) {
    history_.Fail("a session is kept", options_.id + " came back and found none");
  }
  was_connected_ = true;
  if (!packet.session_present()) EndSession();
  session_.connection = connection_;
  session_.node_life = life_;
  if (options_.steady) {
    for (const char* const filter : {"t/#", "r/#", "w/#", "$share/d/#"}) {
      const bool joins = FindShared(filter) == nullptr || (options_.durable && !is_brief());
      if (joins && !session_.sure.contains(filter)) Subscribe(filter, 2);
    }
  }
  SendAgain();
}

void Client::OnPublish(const Packet& packet, bool repeated) {
  Say("receives \"", packet.payload, "\" on ", packet.topic, " at QoS ", packet.qos(), " as ",
      packet.packet_id, packet.dup() ? " dup" : "", packet.retain() ? " retained" : "");
  if (packet.qos() != 0 && !came_.emplace(packet.packet_id, packet.payload).second) {
    history_.Fail(
        "no PUBLISH twice on a living connection",
        absl::StrCat(options_.id, " got \"", packet.payload, "\" again as ", packet.packet_id));
  }
  if (repeated || !history_.CheckReal(session_, packet.topic, packet.payload)) return;
  const std::vector<uint32_t> ids = packet.Numbers(kSubscriptionIdentifier);
  const SharedFilter* const shared = ids.empty() ? nullptr : FindShared(ids.front());
  if (!ids.empty() && (ids.size() != 1 || shared == nullptr)) {
    return history_.Fail("a copy says how it was subscribed to",
                         absl::StrCat(options_.id, " got ", packet.ToString()));
  }
  if (shared != nullptr) {
    return history_.groups().OnReceived(session_, *shared, packet.payload, packet.qos(),
                                        packet.retain(), packet.dup(), now_ns());
  }
  history_.OnReceived(session_, packet.topic, packet.payload, packet.qos(), packet.retain(),
                      packet.dup());
}

void Client::CheckAtRest() {
  if (!connected_) {
    if (options_.durable && !is_brief())
      history_.Fail("all come back", options_.id + " could not connect");
    return;
  }
  for (const auto& [id, outgoing] : outgoing_) {
    history_.Fail("every request is answered",
                  absl::StrCat(options_.id, ": \"", outgoing.payload, "\" was never acknowledged"));
  }
  for (const auto& [id, asked] : asked_) {
    history_.Fail("every request is answered",
                  absl::StrCat(options_.id, ": nothing came for ", asked.filter));
  }
}

}  // namespace simulator
