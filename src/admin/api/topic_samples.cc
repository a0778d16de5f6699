#include "admin/api/topic_samples.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "admin/api/convert.h"
#include "admin/api/message_proto.h"

namespace admin {
namespace {

constexpr size_t kTopicsMax = 100'000;  // Counted one by one.
constexpr uint32_t kUsualCount = 20;
constexpr uint32_t kCountMax = 1000;
constexpr absl::Duration kUsualPeriod = absl::Seconds(2);
constexpr absl::Duration kPeriodMax = absl::Seconds(20);

}  // namespace

struct TopicSamples::Sample {
  struct Count {
    uint64_t messages = 0;
    uint64_t bytes = 0;
  };

  void Add(const std::string& topic, uint64_t payload_bytes) {
    base::MutexLock lock(mutex);
    ++all.messages;
    all.bytes += payload_bytes;
    auto it = counts.find(topic);
    if (it == counts.end()) {
      if (counts.size() >= kTopicsMax) {
        ++left_out;
        return;
      }
      it = counts.emplace(topic, Count()).first;
    }
    ++it->second.messages;
    it->second.bytes += payload_bytes;
  }

  pb::BusiestTopicsResponse Result(absl::Duration lasted) {
    base::MutexLock lock(mutex);
    std::vector<std::pair<const std::string, Count>*> busiest;
    for (auto& each : counts) busiest.push_back(&each);
    const size_t listed = std::min<size_t>(count, busiest.size());
    std::partial_sort(busiest.begin(), busiest.begin() + static_cast<std::ptrdiff_t>(listed),
                      busiest.end(), [](const auto* a, const auto* b) {
                        if (a->second.messages != b->second.messages)
                          return a->second.messages > b->second.messages;
                        return a->first < b->first;
                      });
    pb::BusiestTopicsResponse response;
    for (size_t i = 0; i < listed; ++i) {
      pb::TopicCount& proto = *response.add_topics();
      proto.set_topic(busiest[i]->first);
      proto.set_messages(busiest[i]->second.messages);
      proto.set_bytes(busiest[i]->second.bytes);
    }
    response.set_messages(all.messages);
    response.set_bytes(all.bytes);
    response.set_messages_left_out(left_out);
    *response.mutable_period() = ToDuration(lasted);
    return response;
  }

  uint32_t count = kUsualCount;
  absl::Duration period;
  Reply<pb::BusiestTopicsResponse> reply;
  std::shared_ptr<inside::Client> client;
  base::Mutex mutex;
  absl::Status status ABSL_GUARDED_BY(mutex);
  absl::Duration began ABSL_GUARDED_BY(mutex) = absl::InfiniteDuration();  // Of the clock; not yet.
  absl::flat_hash_map<std::string, Count> counts ABSL_GUARDED_BY(mutex);
  Count all ABSL_GUARDED_BY(mutex);
  uint64_t left_out ABSL_GUARDED_BY(mutex) = 0;
};

void TopicSamples::Start(const pb::BusiestTopicsRequest& request,
                         Reply<pb::BusiestTopicsResponse> reply) {
  const std::string filter = request.filter().empty() ? std::string("#") : request.filter();
  const absl::Duration period =
      request.has_period() ? FromDuration(request.period()) : kUsualPeriod;
  absl::Status status = CheckFilter(filter);
  if (status.ok() && (period <= absl::ZeroDuration() || period > kPeriodMax))
    status = absl::InvalidArgumentError("period: up to 20 seconds");
  if (status.ok()) status = broker_.CheckOpen();
  if (!status.ok()) return reply(status);
  const auto sample = std::make_shared<Sample>();
  if (request.count() != 0) sample->count = std::min(request.count(), kCountMax);
  sample->period = period;
  sample->reply = std::move(reply);
  sample->client = inside_.Make();
  {
    base::MutexLock lock(mutex_);
    running_.push_back(sample);
  }
  sample->client->Subscribe(
      std::vector<mqttd::client::Subscription>{
          {filter,
           {.qos = mqtt::QoS::kAtMostOnce, .retain_handling = mqtt::RetainHandling::kDoNotSend}}},
      [weak = std::weak_ptr<Sample>(sample)](const mqttd::client::ReceivedMessage& message) {
        if (const auto to = weak.lock()) to->Add(message.topic, message.payload.size());
      },
      [this, weak = std::weak_ptr<Sample>(sample)](const absl::Status& subscribed) {
        const auto to = weak.lock();
        if (to == nullptr) return;
        base::MutexLock lock(to->mutex);
        to->status = subscribed;
        to->began = broker_.sources().clock->Monotonic() -
                    (subscribed.ok() ? absl::ZeroDuration() : kPeriodMax);
      });
}

void TopicSamples::Tick() {
  const absl::Duration now = broker_.sources().clock->Monotonic();
  std::vector<std::shared_ptr<Sample>> over;
  {
    base::MutexLock lock(mutex_);
    const auto first = std::partition(running_.begin(), running_.end(), [&](const auto& sample) {
      base::MutexLock sample_lock(sample->mutex);
      return now - sample->began < sample->period;
    });
    std::move(first, running_.end(), std::back_inserter(over));
    running_.erase(first, running_.end());
  }
  for (const auto& sample : over) {
    absl::Duration began;
    absl::Status status;
    {
      base::MutexLock lock(sample->mutex);
      began = sample->began;
      status = sample->status;
    }
    inside_.Retire(std::move(sample->client));
    status.ok() ? sample->reply(sample->Result(now - began)) : sample->reply(status);
  }
}

void TopicSamples::Stop() {
  std::vector<std::shared_ptr<Sample>> ended;
  {
    base::MutexLock lock(mutex_);
    ended.swap(running_);
  }
  for (const auto& sample : ended) {
    inside_.Retire(std::move(sample->client));
    sample->reply(BrokerAccess::Closed());
  }
}

}  // namespace admin
