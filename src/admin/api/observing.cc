#include "admin/api/observing.h"

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "broker/shard/shard_core.h"

namespace admin {
namespace {

// All that look at one shard. Used on its thread.
class Fan final : public broker::Observer {
 public:
  void Add(std::shared_ptr<StreamObserver> observer) { all_.push_back(std::move(observer)); }
  void Remove(const std::shared_ptr<StreamObserver>& observer) { std::erase(all_, observer); }
  bool empty() const { return all_.empty(); }

  void OnConnected(const broker::Connection& connection, bool session_present) override {
    for (const auto& each : all_) each->OnConnected(connection, session_present);
  }
  void OnClosed(const broker::Connection& connection, broker::CloseCause cause) override {
    for (const auto& each : all_) each->OnClosed(connection, cause);
  }
  void OnReceived(const broker::Connection& connection, const mqtt::FrameHeader& header,
                  mqtt::Bytes body) override {
    for (const auto& each : all_) each->OnReceived(connection, header, body);
  }
  void OnSent(const broker::Connection& connection, mqtt::PacketType type, size_t bytes) override {
    for (const auto& each : all_) each->OnSent(connection, type, bytes);
  }
  void OnDelivered(const broker::Session& session, const mqtt::MessageParts& parts, mqtt::QoS qos,
                   size_t bytes) override {
    for (const auto& each : all_) each->OnDelivered(session, parts, qos, bytes);
  }
  void OnRouted(const broker::Connection& connection, const mqtt::MessageParts& parts,
                const broker::Match& match) override {
    for (const auto& each : all_) each->OnRouted(connection, parts, match);
  }
  void OnPublishRefused(const broker::Connection& connection, std::string_view topic,
                        mqtt::ReasonCode reason) override {
    for (const auto& each : all_) each->OnPublishRefused(connection, topic, reason);
  }
  void OnDropped(const broker::Session& session, std::string_view topic,
                 broker::DropCause cause) override {
    for (const auto& each : all_) each->OnDropped(session, topic, cause);
  }

 private:
  std::vector<std::shared_ptr<StreamObserver>> all_;
};

// Whatever observes a shard of this process is a Fan.
Fan* FanOf(broker::ShardCore& shard) { return static_cast<Fan*>(shard.observer.get()); }

}  // namespace

absl::Status CheckObservable(const BrokerAccess& broker) {
  const std::string silent = broker.Silent();
  return silent.empty() ? absl::OkStatus() : absl::UnavailableError(silent);
}

bool BeginObserving(const BrokerAccess& broker, std::shared_ptr<StreamObserver> observer,
                    std::function<void()> begun) {
  const uint32_t shards = broker.shards();
  const auto left = std::make_shared<std::atomic<uint32_t>>(shards);
  for (uint32_t shard = 0; shard < shards; ++shard) {
    const bool open = broker.OnShard(static_cast<storage::ShardId>(shard),
                                     [observer, left, begun](broker::ShardCore& core) {
                                       if (core.observer == nullptr)
                                         core.observer = std::make_shared<Fan>();
                                       FanOf(core)->Add(observer);
                                       if (left->fetch_sub(1) == 1) begun();
                                     });
    if (!open) return false;
  }
  return shards != 0;
}

void EndObserving(const BrokerAccess& broker, const std::shared_ptr<StreamObserver>& observer) {
  for (uint32_t shard = 0; shard < broker.shards(); ++shard) {
    (void)broker.OnShard(static_cast<storage::ShardId>(shard), [observer](broker::ShardCore& core) {
      Fan* const fan = FanOf(core);
      if (fan == nullptr) return;
      fan->Remove(observer);
      if (fan->empty()) core.observer = nullptr;
    });
  }
}

}  // namespace admin
