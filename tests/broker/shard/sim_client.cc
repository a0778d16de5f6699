#include "tests/broker/shard/sim_client.h"

#include <algorithm>
#include <utility>

namespace sim {
namespace {

using support::Packet;
using enum support::PacketType;
using enum support::PropertyId;

constexpr size_t kOutgoingMax = 12;

}  // namespace

Client::Client(Broker& broker, Ledger& ledger, Options options)
    : broker_(broker), ledger_(ledger), options_(std::move(options)), rng_(broker.Fork()) {
  session_.client_id = options_.id;
}

void Client::Start() {
  broker_.agenda().After(absl::Milliseconds(rng_.Between(0, 300)), [this] { Act(); });
}

void Client::CalmDown() {
  calm_ = true;
  if (stalled_ && line_ != nullptr) line_->Stall(false);
  stalled_ = false;
  if (line_ == nullptr && options_.durable) Connect();
}

void Client::Act() {
  if (calm_) return;
  if (line_ == nullptr) {
    if (now_ns() >= back_at_ns_) Connect();
  } else if (connected_) {
    ActConnected();
  }
  broker_.agenda().After(absl::Milliseconds(rng_.Between(1, 150)), [this] { Act(); });
}

void Client::ActConnected() {
  const uint64_t dice = rng_.Below(1000);
  if (dice < 620 || options_.steady) return Publish();
  if (dice < 800) return Subscribe(SomeFilter(), static_cast<unsigned>(rng_.Below(3)));
  if (dice < 900) return Unsubscribe();
  if (dice < 925) return Break(false);
  if (dice < 935 && options_.keep_alive_s != 0) return Break(true);
  if (dice < 955) return SayGoodbye();
  if (dice < 975) {
    if (rng_.Chance(0.5)) return;
    taken_over_ = true;  // The other connection stays, until the broker ends it.
    left_.push_back(line_);
    line_->on_bytes = nullptr;
    line_->on_end = nullptr;
    LoseConnection();
    return Connect();
  }
  stalled_ = !stalled_;
  line_->Stall(stalled_);
}

void Client::Connect() {
  ++connection_;
  line_ = broker_.Connect();
  line_->on_bytes = [this](std::string_view bytes) { OnBytes(bytes); };
  line_->on_end = [this] { OnEnd(); };
  support::ConnectPacket connect{.version = options_.version,
                                 .client_id = options_.id,
                                 .clean = !options_.durable,
                                 .keep_alive_s = options_.keep_alive_s};
  if (options_.durable && options_.version == support::Version::k5)
    connect.properties.Number(kSessionExpiryInterval, 100'000);
  will_.clear();
  if (rng_.Chance(0.5)) {
    will_ = "will of " + options_.id + " " + std::to_string(connection_);
    const auto qos = static_cast<unsigned>(rng_.Below(3));
    connect.will = support::Will{.topic = "w/" + options_.id, .payload = will_, .qos = qos};
    ledger_.Add(will_, {.publisher = "will of " + options_.id,
                        .number = connection_,
                        .topic = "w/" + options_.id,
                        .qos = qos,
                        .sent_ns = now_ns()});
  }
  Send(connect.Encode());
  if (options_.keep_alive_s == 0) return;
  broker_.agenda().After(absl::Seconds(options_.keep_alive_s) / 2,
                         [this, connection = connection_] {
                           if (connection == connection_ && line_ != nullptr) Ping();
                         });
}

void Client::Ping() {
  if (connected_) Send(std::string(support::kPingreq));
  broker_.agenda().After(absl::Seconds(options_.keep_alive_s) / 2,
                         [this, connection = connection_] {
                           if (connection == connection_ && line_ != nullptr) Ping();
                         });
}

void Client::LoseConnection() {
  line_ = nullptr;
  connected_ = stalled_ = false;
  input_.clear();
  asked_.clear();
  last_asked_.clear();
  if (!options_.durable) EndSession();
}

void Client::EndSession() {
  outgoing_.clear();
  incoming_.clear();
  session_ = {};
  session_.client_id = options_.id;
}

// Its client has not said goodbye.
void Client::WillIsDue() {
  Published* const will = ledger_.Find(will_);
  if (will == nullptr || !connected_) return;
  will->sent_ns = will->acknowledged_ns = now_ns();
}

void Client::Break(bool silently) {
  WillIsDue();
  if (silently) {
    line_->Vanish();
    const auto silent = absl::Milliseconds(1500) * options_.keep_alive_s;
    // As long again as it may take to hear a goodbye, and what the wheel's steps add.
    broker_.agenda().After(silent + absl::Seconds(4), [line = line_, id = options_.id] {
      EXPECT_TRUE(line->closed_by_broker()) << id << " has been silent for long enough";
    });
  } else {
    line_->Break();
  }
  LoseConnection();
}

void Client::SayGoodbye() {
  if (Published* const will = ledger_.Find(will_); will != nullptr && !taken_over_)
    will->withdrawn = true;
  back_at_ns_ = now_ns() + 100'000'000;  // Or a new connection might be there before the goodbye.
  Send(support::Disconnect(options_.version));
  line_->Finish();
  line_->on_bytes = nullptr;
  line_->on_end = nullptr;
  LoseConnection();
}

// ---- What it publishes

std::string Client::SomeTopic() {
  switch (rng_.Below(10)) {
    case 0:
      return "r/" + options_.id;
    case 1:
    case 2:
      return "s/0";
    default:
      return "t/" + std::to_string(rng_.Below(4));
  }
}

uint16_t Client::NextId() {
  do {
    if (++last_id_ == 0) ++last_id_;
  } while (outgoing_.contains(last_id_) || asked_.contains(last_id_));
  return last_id_;
}

void Client::Publish() {
  const std::string topic = SomeTopic();
  unsigned qos = static_cast<unsigned>(rng_.Below(3));
  if (outgoing_.size() >= kOutgoingMax) qos = 0;
  const std::string payload = options_.id + " " + std::to_string(++published_);
  ledger_.Add(payload, {.publisher = options_.id,
                        .number = published_,
                        .topic = topic,
                        .qos = qos,
                        .retain = topic.starts_with("r/"),
                        .sent_ns = now_ns()});
  const uint16_t id = qos == 0 ? uint16_t{0} : NextId();
  if (qos != 0) outgoing_[id] = {.order = published_, .payload = payload};
  SendPublish(id, payload, false);
}

void Client::SendPublish(uint16_t packet_id, const std::string& payload, bool dup) {
  Published& message = *ledger_.Find(payload);
  message.sent_again = message.sent_again || dup;
  Send(support::PublishPacket{.topic = message.topic,
                              .payload = payload,
                              .qos = message.qos,
                              .packet_id = packet_id,
                              .retain = message.retain,
                              .dup = dup}
           .Encode(options_.version));
}

void Client::OnAck(const Packet& packet) {
  const auto found = outgoing_.find(packet.packet_id);
  ASSERT_NE(found, outgoing_.end()) << options_.id << ": " << packet.ToString();
  Published& message = *ledger_.Find(found->second.payload);
  const bool last = packet.type == kPuback || packet.type == kPubcomp;
  // A PUBREL that is sent again may find nothing any more.
  EXPECT_TRUE(packet.reason < 0x80 || (packet.type == kPubcomp && packet.reason == 0x92))
      << options_.id << ": " << packet.ToString();
  EXPECT_EQ(message.qos, packet.type == kPuback ? 1u : 2u);
  if (packet.type != kPubcomp && message.acknowledged_ns == kNotYet)
    message.acknowledged_ns = now_ns();
  if (last) {
    outgoing_.erase(found);
    return;
  }
  found->second.received = true;
  Send(support::Ack(kPubrel, packet.packet_id));
}

// ---- What it subscribes to

std::string Client::SomeFilter() {
  static const char* const kFilters[] = {"t/0", "t/1", "t/2", "t/3", "t/#",
                                         "t/+", "r/#", "w/#", "w/+", "$share/g/s/0"};
  return kFilters[rng_.Below(std::size(kFilters))];
}

void Client::Subscribe(const std::string& filter, unsigned qos) {
  if (filter.starts_with("$share/") && qos == 0) qos = 1;
  const uint16_t id = NextId();
  asked_[id] = {.subscribe = true, .filter = filter};
  last_asked_[filter] = id;
  session_.ever_subscribed.insert(filter);
  session_.gone.erase(filter);
  if (qos == 0) session_.sure.erase(filter);
  Send(support::Subscribe(options_.version, id, {{filter, qos}}));
}

void Client::Unsubscribe() {
  const std::string filter = SomeFilter();
  const uint16_t id = NextId();
  asked_[id] = {.subscribe = false, .filter = filter};
  last_asked_[filter] = id;
  session_.sure.erase(filter);
  Send(support::Unsubscribe(options_.version, id, {filter}));
}

void Client::OnSubscribed(const Packet& packet) {
  const auto found = asked_.find(packet.packet_id);
  ASSERT_NE(found, asked_.end()) << options_.id << ": " << packet.ToString();
  const Asked asked = found->second;
  asked_.erase(found);
  EXPECT_EQ(packet.type, asked.subscribe ? kSuback : kUnsuback);
  if (last_asked_[asked.filter] != packet.packet_id) return;  // There is a later one.
  if (!asked.subscribe) {
    session_.gone[asked.filter] = now_ns();
    return;
  }
  ASSERT_EQ(packet.reasons.size(), 1u);
  EXPECT_LE(packet.reasons[0], 2) << options_.id << ": " << packet.ToString();
  if (packet.reasons[0] != 0) session_.sure.emplace(asked.filter, now_ns());
}

// ---- What comes

void Client::OnBytes(std::string_view bytes) {
  input_ += bytes;
  for (;;) {
    const auto size = support::FrameSize(input_);
    if (!size.has_value() || *size > input_.size()) return;
    const auto parsed = support::Parse(options_.version, std::string_view(input_).substr(0, *size));
    ASSERT_EQ(parsed.error, "") << options_.id << ": " << parsed.packet.ToString();
    input_.erase(0, *size);
    OnPacket(parsed.packet);
    if (line_ == nullptr) return;
  }
}

void Client::OnPacket(const Packet& packet) {
  switch (packet.type) {
    case kConnack:
      return OnConnack(packet);
    case kPublish:
      return OnPublish(packet);
    case kPuback:
    case kPubrec:
    case kPubcomp:
      return OnAck(packet);
    case kPubrel:
      incoming_.erase(packet.packet_id);
      return Send(support::Ack(kPubcomp, packet.packet_id));
    case kSuback:
    case kUnsuback:
      return OnSubscribed(packet);
    case kPingresp:
      return;
    default:
      ADD_FAILURE() << options_.id << " got " << packet.ToString();
  }
}

void Client::OnConnack(const Packet& packet) {
  ASSERT_EQ(packet.reason, 0) << options_.id << ": " << packet.ToString();
  connected_ = true;
  taken_over_ = false;
  EXPECT_TRUE(packet.session_present() || !was_connected_ || !options_.durable) << options_.id;
  was_connected_ = true;
  if (!packet.session_present()) EndSession();
  if (options_.steady) {
    for (const char* const filter : {"t/#", "r/#", "w/#", "$share/g/s/0"}) {
      if (!session_.ever_subscribed.contains(filter)) Subscribe(filter, 2);
    }
  }
  std::vector<std::pair<uint64_t, uint16_t>> order;
  for (const auto& [id, outgoing] : outgoing_) order.emplace_back(outgoing.order, id);
  std::sort(order.begin(), order.end());
  for (const auto& [number, id] : order) {
    const Outgoing& outgoing = outgoing_[id];
    if (outgoing.received) {
      Send(support::Ack(kPubrel, id));
    } else {
      SendPublish(id, outgoing.payload, true);
    }
  }
}

void Client::OnPublish(const Packet& packet) {
  if (packet.qos() == 2 && !incoming_.insert(packet.packet_id).second)
    return Send(support::Ack(kPubrec, packet.packet_id));
  ledger_.OnReceived(session_, packet.topic, packet.payload, packet.qos(), packet.retain(),
                     packet.dup());
  if (packet.qos() == 1) Send(support::Ack(kPuback, packet.packet_id));
  if (packet.qos() == 2) Send(support::Ack(kPubrec, packet.packet_id));
}

void Client::OnEnd() { ADD_FAILURE() << options_.id << " was sent away"; }

void Client::CheckAtRest() const {
  if (!connected_) {
    EXPECT_FALSE(options_.durable) << options_.id << " could not connect";
    return;
  }
  for (const auto& [id, outgoing] : outgoing_)
    ADD_FAILURE() << options_.id << ": \"" << outgoing.payload << "\" was never acknowledged";
  for (const auto& [id, asked] : asked_)
    ADD_FAILURE() << options_.id << ": a request for " << asked.filter << " was never answered";
}

}  // namespace sim
