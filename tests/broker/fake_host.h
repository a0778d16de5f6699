// A broker over a partition host that the test plays: it sees every request and answers when it
// likes, or not at all.
#ifndef TESTS_BROKER_FAKE_HOST_H_
#define TESTS_BROKER_FAKE_HOST_H_

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "auth/core/method.h"
#include "base/clock.h"
#include "broker/server.h"
#include "storage/partition_host.h"
#include "tests/support/client.h"
#include "tests/support/patience.h"

namespace broker {

class FakeHost final : public storage::PartitionHost {
 public:
  void Start(std::function<void()> ready) override { ready(); }
  void Submit(const storage::ShardAddress&, std::vector<storage::Addressed> batch) override {
    const std::lock_guard lock(mutex_);
    for (storage::Addressed& asked : batch) requests_.push_back(std::move(asked.request));
    came_.notify_all();
  }
  void SetNodes(const storage::LiveNode&, std::vector<storage::LiveNode>) override {}
  void Resync(storage::NodeId, std::function<void()>) override {}
  void OnHostMessage(storage::NodeId, storage::Incarnation, storage::HostMessage) override {}
  void SetSend(std::function<void(storage::NodeId, storage::HostMessage)>) override {}
  void SetDoor(SetClosed) override {}
  void Run(std::function<void(storage::Host&)>) override {}  // It has no host to look at.
  void Checkpoint(std::string /*directory*/, std::function<void(absl::Status)> done) override {
    done(absl::UnimplementedError("there is nothing on a disk to copy"));
  }
  absl::Status Stop() override { return absl::OkStatus(); }
  const storage::HostMetrics& metrics() const override { return metrics_; }
  uint32_t partitions() const override { return partition_count; }
  storage::PartitionMask led() const override { return ~storage::PartitionMask{0}; }
  const std::string& node_id() const override { return node_id_; }

  uint32_t partition_count = 1;

  // The first request of that kind that was not taken yet; waits for it. Others stay.
  template <typename Kind>
  Kind Take(support::Where where = support::Where::current()) {
    std::unique_lock lock(mutex_);
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(10) * support::TestSlowdown();
    for (;;) {
      for (auto it = requests_.begin(); it != requests_.end(); ++it) {
        if (!std::holds_alternative<Kind>(*it)) continue;
        Kind taken = std::get<Kind>(std::move(*it));
        requests_.erase(it);
        return taken;
      }
      if (came_.wait_until(lock, deadline) == std::cv_status::timeout)
        support::Fail("the shard did not ask", where);
    }
  }
  // The first one of all that were not taken yet.
  storage::Request TakeNext(support::Where where = support::Where::current()) {
    std::unique_lock lock(mutex_);
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(10) * support::TestSlowdown();
    if (!came_.wait_until(lock, deadline, [this] { return !requests_.empty(); }))
      support::Fail("the shard did not ask", where);
    storage::Request taken = std::move(requests_.front());
    requests_.pop_front();
    return taken;
  }
  template <typename Kind>
  bool Has() {
    const std::lock_guard lock(mutex_);
    for (const storage::Request& request : requests_) {
      if (std::holds_alternative<Kind>(request)) return true;
    }
    return false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<storage::Request> requests_;
  storage::HostMetrics metrics_;
  const std::string node_id_ = "fake";
};

// One listener, and clients whose sessions the test grants.
class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    options_.shards = 1;
    options_.sys_interval_s = 0;
    options_.listeners.resize(1);
    options_.listeners[0].name = "test";
    options_.listeners[0].listener.url = ParseListenerUrl("mqtt://127.0.0.1:0").value();
    options_.listeners[0].auth.allow_anonymous = true;
  }
  ~ServerTest() override {
    if (server_ != nullptr) server_->ShutDown();
  }

  Limits& limits() { return options_.listeners[0].limits; }

  void Create() {
    server_ = Server::Create(options_, {.clock = &base::RealClock::Get(),
                                        .methods = &methods_,
                                        .memory_used_bytes = [this] { return memory_.load(); }})
                  .value();
  }
  void Start() {
    Create();
    server_->Start(host_, [] {});
    const std::string url = server_->urls().at(0);
    port_ = static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  }

  // CONNECT is sent, nothing is answered yet.
  support::RawClient Knock(const support::ConnectPacket& connect) {
    support::RawClient client(port_, connect.version);
    client.Send(connect.Encode());
    return client;
  }
  // The host grants what was asked for. Returns the session's epoch.
  storage::SessionOpened Grant(const storage::OpenSession& open) {
    storage::SessionOpened opened;
    opened.token = open.token;
    opened.durable = open.expiry_s > 0;
    opened.epoch = ++last_epoch_;
    Post(open.connection.shard, opened);
    return opened;
  }

  struct Client {
    support::RawClient wire;
    storage::ConnectionRef ref;
    uint64_t epoch = 0;
    std::string id;
  };
  Client Join(const support::ConnectPacket& connect) {
    Client client{Knock(connect), {}, 0, connect.client_id};
    const auto open = host_.Take<storage::OpenSession>();
    client.ref = open.connection;
    client.epoch = Grant(open).epoch;
    client.wire.ExpectConnack();
    return client;
  }
  // A SUBSCRIBE that the host commits.
  void SubscribeDurably(Client& client, const std::string& filter, unsigned qos) {
    client.wire.Send(support::Subscribe(client.wire.version(), 1, {{filter, qos}}));
    Post(client.ref.shard, storage::SubscribeDone{host_.Take<storage::Subscribe>().token, {}});
    client.wire.ExpectAck(support::PacketType::kSuback, 1);
  }
  // A durable member of "$share/g/t", as the host tells of it.
  Client JoinGroup(const std::string& id) {
    Client client = Join(Durable(id));
    client.wire.Send(support::Subscribe(support::Version::k5, 1, {{"$share/g/t", 2}}));
    const auto subscribe = host_.Take<storage::Subscribe>();
    Post(0, storage::ShareMemberChange{.number = 1,
                                       .state = storage::ShareMemberChange::State::kConnected,
                                       .partition = 0,
                                       .client_id = id,
                                       .subscription = subscribe.subscriptions.at(0),
                                       .connection = client.ref});
    Post(0, storage::SubscribeDone{subscribe.token, {}});
    client.wire.ExpectAck(support::PacketType::kSuback, 1);
    return client;
  }
  static support::ConnectPacket Transient(std::string id,
                                          support::Version version = support::Version::k5) {
    return {.version = version, .client_id = std::move(id)};
  }
  static support::ConnectPacket Durable(std::string id) {
    support::ConnectPacket connect{.client_id = std::move(id), .clean = false};
    connect.properties.Number(support::PropertyId::kSessionExpiryInterval, 3600);
    return connect;
  }

  template <typename Kind>
  void Post(storage::ShardId shard, Kind event) {
    std::vector<storage::Event> events;
    events.emplace_back(std::move(event));
    server_->Post(host_.OwnShard(shard), std::move(events));
  }

  const ShardMetrics& metrics(size_t shard = 0) { return *server_->metrics().shards.at(shard); }

  BrokerOptions options_;
  auth::AuthMethodRegistry methods_;
  std::atomic<uint64_t> memory_{0};  // What the process uses, as far as the broker knows.
  FakeHost host_;
  std::unique_ptr<Server> server_;
  uint16_t port_ = 0;
  uint64_t last_epoch_ = 0;
};

}  // namespace broker
#endif  // TESTS_BROKER_FAKE_HOST_H_
