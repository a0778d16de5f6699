// A partition host on a real directory, and shards that note what they hear.
#ifndef TESTS_STORAGE_HOST_RIG_H_
#define TESTS_STORAGE_HOST_RIG_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "cluster/partition_log.h"
#include "storage/core/keys.h"
#include "storage/partition_host.h"
#include "tests/storage/requests.h"
#include "tests/support/temp_dir.h"

namespace storage {

inline mqtt::MessagePtr MakeMessage(std::string_view topic, std::string_view payload,
                                    mqtt::QoS qos = mqtt::QoS::kAtLeastOnce, bool retain = false) {
  return mqtt::Message::Create(
      {.topic = topic, .payload = payload, .properties = {}, .qos = qos, .retain = retain});
}

// All shards in one: hears events, confirms routes at once, hands events to whoever waits.
class Ears final : public EventSink {
 public:
  void Attach(PartitionHost* host) {
    base::MutexLock lock(mutex_);
    host_ = host;
  }

  // What it is to be asked for: a message is a request to each of several partitions.
  std::vector<Addressed> Ask(Request request, uint32_t partitions) {
    std::vector<Addressed> batch;
    auto* const publish = std::get_if<Publish>(&request);
    base::MutexLock lock(mutex_);
    if (const auto* const accept = std::get_if<AcceptInbound>(&request)) {
      published_.Expect(accept->token, PartitionOfClient(accept->client_id, partitions));
    }
    if (publish == nullptr) {
      batch.push_back(std::move(request));
      return batch;
    }
    published_.Cut(std::move(*publish), partitions,
                   [&](Publish part) { batch.emplace_back(std::move(part)); });
    return batch;
  }

  void Post(const ShardAddress& shard, std::vector<Event> events) override {
    std::vector<Addressed> answers;
    PartitionHost* host = nullptr;
    {
      base::MutexLock lock(mutex_);
      host = host_;
      for (Event& event : events) {
        const uint64_t number = RouteNumber(event);
        if (number != 0) answers.push_back(ConfirmRoutes{number});
        if (auto* const part = std::get_if<Published>(&event)) {
          std::optional<Published> all = published_.Join(std::move(*part));
          if (!all.has_value()) continue;
          event = *std::move(all);
          const auto passed_on = passing_.find(std::get<Published>(event).token);
          if (passed_on != passing_.end()) {
            answers.push_back(OutboxDone{.partition = passed_on->second.partition,
                                         .number = passed_on->second.number});
            passing_.erase(passed_on);
            continue;
          }
        }
        if (auto* const route = std::get_if<RouteMessage>(&event)) PassOn(*route, answers);
        heard_.push_back(std::move(event));
      }
      changed_.SignalAll();
    }
    if (host != nullptr) host->Submit(shard, std::move(answers));
  }

  // The first event of the type (not taken yet) for which `wanted` holds. Waits for it.
  template <typename T, typename Wanted>
  T Await(Wanted&& wanted) {
    base::MutexLock lock(mutex_);
    while (true) {
      for (auto it = heard_.begin(); it != heard_.end(); ++it) {
        T* const event = std::get_if<T>(&*it);
        if (event == nullptr || !wanted(*event)) continue;
        T taken = std::move(*event);
        heard_.erase(it);
        return taken;
      }
      const bool in_time = changed_.WaitFor(mutex_, absl::Seconds(60));
      CHECK(in_time) << "an event never came";
    }
  }
  template <typename T>
  T Await(Token token) {
    return Await<T>([&](const T& event) { return event.token == token; });
  }
  template <typename T>
  T Await() {
    return Await<T>([](const T&) { return true; });
  }

  // Those that are here.
  template <typename T>
  std::vector<T> TakeAll() {
    base::MutexLock lock(mutex_);
    std::vector<T> taken;
    std::deque<Event> rest;
    for (Event& event : heard_) {
      if (T* const wanted = std::get_if<T>(&event)) {
        taken.push_back(std::move(*wanted));
      } else {
        rest.push_back(std::move(event));
      }
    }
    heard_ = std::move(rest);
    return taken;
  }

  template <typename T>
  size_t Count() {
    base::MutexLock lock(mutex_);
    size_t count = 0;
    for (const Event& event : heard_) count += std::holds_alternative<T>(event) ? 1 : 0;
    return count;
  }

 private:
  // To all partitions.
  void PassOn(const RouteMessage& route, std::vector<Addressed>& answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Publish publish;
    publish.token = ++passing_token_;
    publish.message = route.message;
    publish.outbox = route.outbox;
    publish.partitions = ~PartitionMask{0};
    publish.set_retained = route.message->retain();
    passing_[publish.token] = route.outbox;
    published_.Cut(std::move(publish), host_->partitions(),
                   [&](Publish part) { answers.emplace_back(std::move(part)); });
  }
  static uint64_t RouteNumber(const Event& event) {
    if (const auto* route = std::get_if<RouteChange>(&event)) return route->number;
    if (const auto* block = std::get_if<RouteBlock>(&event)) return block->number;
    if (const auto* member = std::get_if<ShareMemberChange>(&event)) return member->number;
    return 0;
  }

  base::Mutex mutex_;
  base::CondVar changed_;
  PartitionHost* host_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::deque<Event> heard_ ABSL_GUARDED_BY(mutex_);
  PublishJoiner published_ ABSL_GUARDED_BY(mutex_);
  std::map<Token, OutboxRef> passing_ ABSL_GUARDED_BY(mutex_);
  Token passing_token_ ABSL_GUARDED_BY(mutex_) = Token{1} << 48;
};

// Of a message of QoS 2 from a durable session, if it has an epoch.
struct Author {
  std::string client_id;
  uint64_t epoch = 0;
  uint16_t packet_id = 0;
};

class HostRig {
 public:
  explicit HostRig(StorageOptions options, rocksdb::Env* env = nullptr)
      : options_(std::move(options)), env_(env) {}
  ~HostRig() { ears_.Attach(nullptr); }

  absl::Status Open() {
    auto opened = PartitionHost::Open(options_, &cluster::PartitionLog::Open,
                                      base::RealClock::Get(), ears_, 1, env_);
    if (!opened.ok()) return opened.status();
    host_ = *std::move(opened);
    ears_.Attach(host_.get());
    return absl::OkStatus();
  }

  // Returns when every route is known.
  void Start() {
    base::Mutex mutex;
    base::CondVar changed;
    bool ready = false;
    host_->Start([&] {
      base::MutexLock lock(mutex);
      ready = true;
      changed.SignalAll();
    });
    base::MutexLock lock(mutex);
    while (!ready) changed.Wait(mutex);
  }

  absl::Status Stop() {
    const absl::Status status = host_->Stop();
    ears_.Attach(nullptr);
    host_.reset();
    return status;
  }

  void Send(Request request) {
    host_->Submit(host_->OwnShard(0), ears_.Ask(std::move(request), options_.partitions));
  }

  SessionOpened OpenSession(const std::string& client_id, uint32_t expiry_s = 3600,
                            uint32_t window_messages = 100) {
    storage::OpenSession open;
    open.token = ++token_;
    ++connection_;
    open.connection = last_connection();
    open.client_id = client_id;
    open.expiry_s = expiry_s;
    open.window_messages = window_messages;
    open.window_bytes = 64 << 20;
    Send(std::move(open));
    return ears_.Await<SessionOpened>(token_);
  }

  SubscribeDone Subscribe(const std::string& client_id, uint64_t epoch, const std::string& filter,
                          mqtt::QoS qos = mqtt::QoS::kExactlyOnce) {
    Send(MakeSubscribe(++token_, client_id, epoch, filter, qos));
    return ears_.Await<SubscribeDone>(token_);
  }

  Token SendPublish(mqtt::MessagePtr message, const Author& author = {}) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.set_retained = message->retain();
    publish.message = std::move(message);
    publish.partitions = AllPartitions();
    if (author.epoch != 0) {
      Send(MakeAccept(std::move(publish), author.client_id, author.epoch, author.packet_id));
    } else {
      Send(std::move(publish));
    }
    return token_;
  }
  Published Publish(mqtt::MessagePtr message, const Author& author = {}) {
    return ears_.Await<Published>(SendPublish(std::move(message), author));
  }

  // The next `count` messages for the session.
  std::vector<Delivery> Receive(uint64_t epoch, size_t count) {
    std::vector<Delivery> received;
    while (received.size() < count) {
      Deliver deliver =
          ears_.Await<Deliver>([&](const Deliver& event) { return event.epoch == epoch; });
      for (Delivery& delivery : deliver.entries) received.push_back(std::move(delivery));
    }
    return received;
  }

  void Acknowledge(const std::string& client_id, uint64_t epoch, uint64_t sequence,
                   AckKind kind = AckKind::kPubAck) {
    Send(MakeAcknowledge(client_id, epoch, sequence, kind));
  }

  PartitionMask AllPartitions() const {
    return options_.partitions == 64 ? ~PartitionMask{0}
                                     : (PartitionMask{1} << options_.partitions) - 1;
  }
  ConnectionRef last_connection() const {
    return {.shard = 0, .incarnation = host_->incarnation(), .connection = connection_};
  }
  Ears& ears() { return ears_; }
  PartitionHost& host() { return *host_; }

 private:
  StorageOptions options_;
  rocksdb::Env* const env_;
  Ears ears_;
  std::unique_ptr<PartitionHost> host_;
  Token token_ = 0;
  uint64_t connection_ = 0;
};

}  // namespace storage

#endif  // TESTS_STORAGE_HOST_RIG_H_
