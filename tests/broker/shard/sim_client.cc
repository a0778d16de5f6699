#include "tests/broker/shard/sim_client.h"

#include <iterator>
#include <utility>

namespace sim {
namespace {

using support::Packet;
using enum support::PacketType;
using enum support::PropertyId;

constexpr size_t kOutgoingMax = 12;

}  // namespace

Client::Client(Broker& broker, Ledger& ledger, Options options)
    : ClientSession(options.version),
      broker_(broker),
      ledger_(ledger),
      options_(std::move(options)),
      rng_(broker.Fork()) {
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
  line_->on_bytes = [this](std::string_view bytes) { TakeBytes(bytes); };
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
  ForgetConnection();
  if (!options_.durable) EndSession();
}

void Client::EndSession() {
  ForgetExchanges();
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
  } while (IsInUse(last_id_));
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

void Client::OnAcknowledged(const Packet& packet, const Outgoing& outgoing) {
  Published& message = *ledger_.Find(outgoing.payload);
  // A PUBREL that is sent again may find nothing any more.
  EXPECT_TRUE(packet.reason < 0x80 || (packet.type == kPubcomp && packet.reason == 0x92))
      << options_.id << ": " << packet.ToString();
  EXPECT_EQ(message.qos, packet.type == kPuback ? 1u : 2u);
  if (packet.type != kPubcomp && message.acknowledged_ns == kNotYet)
    message.acknowledged_ns = now_ns();
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
  Ask(id, {.subscribe = true, .filter = filter});
  session_.ever_subscribed.insert(filter);
  session_.gone.erase(filter);
  if (qos == 0) session_.sure.erase(filter);
  Send(support::Subscribe(options_.version, id, {{filter, qos}}));
}

void Client::Unsubscribe() {
  const std::string filter = SomeFilter();
  const uint16_t id = NextId();
  Ask(id, {.subscribe = false, .filter = filter});
  session_.sure.erase(filter);
  Send(support::Unsubscribe(options_.version, id, {filter}));
}

void Client::OnAnswered(const Packet& packet, const Asked& asked, bool is_latest) {
  if (!is_latest) return;
  if (!asked.subscribe) {
    session_.gone[asked.filter] = now_ns();
    return;
  }
  ASSERT_EQ(packet.reasons.size(), 1u);
  EXPECT_LE(packet.reasons[0], 2) << options_.id << ": " << packet.ToString();
  if (packet.reasons[0] != 0) session_.sure.emplace(asked.filter, now_ns());
}

// ---- What comes

void Client::OnUnreadable(const std::string& error, const Packet& packet) {
  ADD_FAILURE() << options_.id << ": " << error << " " << packet.ToString();
}

void Client::OnUnexpected(const Packet& packet) {
  ADD_FAILURE() << options_.id << " got " << packet.ToString();
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
  SendAgain();
}

void Client::OnPublish(const Packet& packet, bool repeated) {
  if (repeated) return;
  ledger_.OnReceived(session_, packet.topic, packet.payload, packet.qos(), packet.retain(),
                     packet.dup());
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
