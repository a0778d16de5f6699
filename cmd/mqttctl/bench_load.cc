#include "bench_load.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/rng.h"

namespace mqttctl {
namespace {

namespace asio = boost::asio;
namespace client = mqttd::client;

// What a payload begins with.
struct Stamp {
  int64_t due_ns = 0;  // When it was due, by the steady clock of this machine.
  uint32_t run = 0;
  uint32_t publisher = 0;  // Of those of the topic.
  uint64_t number = 0;     // Of the publisher's messages.
};
static_assert(sizeof(Stamp) == kStampBytes, "no gaps");
// Connections that one thread makes at once.
constexpr size_t kConnectsMax = 64;

}  // namespace

BenchLoad::BenchLoad(const BenchArguments& arguments, const client::Options& options)
    : arguments_(arguments), run_(static_cast<uint32_t>(base::Rng::FromEntropy()())) {
  const size_t topics =
      arguments.topics > 0 ? arguments.topics : std::max<size_t>(1, arguments.publishers);
  for (size_t i = 0; i < std::max<size_t>(1, arguments.threads); ++i) threads_.emplace_back();
  const auto topic = [&](size_t i) { return absl::StrCat(arguments.topic, "/", i % topics); };
  std::vector<uint64_t> subscribers(topics);
  for (size_t i = 0; i < arguments.subscribers; ++i) {
    One& one = Add(options, "sub");
    one.topic = topic(i);
    one.expects.resize((arguments.publishers + topics - 1 - i % topics) / topics);
    ++subscribers[i % topics];
    subscribers_.push_back(&one);
  }
  for (size_t i = 0; i < arguments.publishers; ++i) {
    One& one = Add(options, "pub");
    one.topic = topic(i);
    one.subscribers = subscribers[i % topics];
    one.index = static_cast<uint32_t>(i / topics);
    publishers_.push_back(&one);
  }
  for (size_t i = 0; i < arguments.connections; ++i) Add(options, "idle");
  for (Thread& thread : threads_) {
    thread.thread = std::thread([&thread] { thread.io.run(); });
  }
}

BenchLoad::~BenchLoad() {
  for (Thread& thread : threads_) {
    thread.work.reset();
    thread.io.stop();
    if (thread.thread.joinable()) thread.thread.join();
  }
  clients_.clear();
}

BenchLoad::One& BenchLoad::Add(const client::Options& options, const std::string& role) {
  client::Options own = options;
  const std::string prefix =
      options.session.client_id.empty() ? std::string("mqttctl-bench") : options.session.client_id;
  own.session.client_id = absl::StrCat(prefix, "-", getpid(), "-", role, "-", clients_.size());
  Thread& thread = threads_[clients_.size() % threads_.size()];
  clients_.push_back(std::make_unique<One>(thread, std::move(own)));
  return *clients_.back();
}

void BenchLoad::Connect() {
  for (Thread& thread : threads_) {
    for (size_t i = 0; i < kConnectsMax; ++i) {
      asio::post(thread.io, [this, &thread] { ConnectNext(&thread); });
    }
  }
}

void BenchLoad::ConnectNext(Thread* thread) {
  while (true) {
    const size_t next = next_to_connect_.fetch_add(1, std::memory_order_relaxed);
    if (next >= clients_.size()) return;
    One& one = *clients_[next];
    const auto begun = Clock::now();
    one.client.AsyncConnect([this, begun, thread](absl::StatusOr<client::ConnectResult> result) {
      if (result.ok() && result->ok()) {
        figures_.connect.Record(Clock::now() - begun);
        figures_.connected.fetch_add(1, std::memory_order_relaxed);
      } else {
        Failed(result.ok() ? absl::PermissionDeniedError(
                                 absl::StrCat("the broker refuses the connection: ",
                                              base::AbslView(mqtt::ReasonCodeName(result->reason))))
                           : result.status());
      }
      asio::post(thread->io, [this, thread] { ConnectNext(thread); });
    });
    return;
  }
}

void BenchLoad::Subscribe() {
  const int qos =
      arguments_.subscribe_qos >= 0 ? arguments_.subscribe_qos : arguments_.connection.qos;
  for (One* one : subscribers_) {
    one->client.OnMessage(
        [this, one](const client::ReceivedMessage& message) { Take(*one, message); });
    const auto begun = Clock::now();
    std::vector<client::Subscription> subscriptions;
    subscriptions.push_back({one->topic, {.qos = static_cast<mqtt::QoS>(qos)}});
    one->client.AsyncSubscribe(
        std::move(subscriptions), [this, begun](absl::StatusOr<client::SubscribeResult> result) {
          if (!result.ok()) return Failed(result.status());
          if (!result->ok()) {
            return Failed(absl::PermissionDeniedError(
                absl::StrCat("the broker refuses the subscription: ",
                             base::AbslView(mqtt::ReasonCodeName(result->reasons.front())))));
          }
          figures_.subscribe.Record(Clock::now() - begun);
          figures_.subscribed.fetch_add(1, std::memory_order_relaxed);
        });
  }
}

// What a publisher sends to a topic comes in its order [MQTT5-4.6.0-6] [MQTT311-4.6.0-6]: what is
// behind it was there before.
void BenchLoad::Take(One& one, const client::ReceivedMessage& message) {
  Stamp stamp;
  if (message.payload.size() >= kStampBytes)
    std::memcpy(&stamp, message.payload.data(), kStampBytes);
  if (message.payload.size() < kStampBytes || stamp.run != run_ ||
      stamp.publisher >= one.expects.size()) {
    figures_.foreign.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  uint64_t& expects = one.expects[stamp.publisher];
  if (stamp.number < expects) {
    figures_.repeated.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  expects = stamp.number + 1;
  figures_.delivery.Record(Clock::now().time_since_epoch() -
                           std::chrono::nanoseconds(stamp.due_ns));
  figures_.received.fetch_add(1, std::memory_order_relaxed);
}

void BenchLoad::Publish() {
  publishing_ = true;
  const auto begun = Clock::now();
  for (size_t i = 0; i < publishers_.size(); ++i) {
    One& one = *publishers_[i];
    if (arguments_.rate > 0) {
      const double per_publisher = static_cast<double>(publishers_.size()) / arguments_.rate;
      one.interval =
          std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(per_publisher));
      // Spread over the first interval, so that they do not publish in step.
      one.due =
          begun + one.interval * static_cast<int64_t>(i) / static_cast<int64_t>(publishers_.size());
    }
    asio::post(one.thread->io, [this, &one] { PublishDue(one); });
  }
}

// What is due is published while the window has room; what finds none goes out late, and the time
// from when it was due counts.
void BenchLoad::PublishDue(One& one) {
  if (!publishing_.load(std::memory_order_relaxed)) return;
  const auto now = Clock::now();
  if (arguments_.rate <= 0) {
    for (size_t i = one.open; i < arguments_.window; ++i) PublishOne(one, Clock::now());
    // QoS 0 is over at once: others get their turn first.
    if (one.open < arguments_.window) asio::post(one.thread->io, [this, &one] { PublishDue(one); });
    return;
  }
  for (; one.due <= now && one.open < arguments_.window; one.due += one.interval) {
    PublishOne(one, one.due);
  }
  if (one.open >= arguments_.window) return;  // The next acknowledgement goes on.
  one.timer.expires_at(one.due);
  one.timer.async_wait([this, &one](const boost::system::error_code& error) {
    if (!error) PublishDue(one);
  });
}

void BenchLoad::PublishOne(One& one, Clock::time_point due) {
  client::Message message;
  message.topic = one.topic;
  message.qos = static_cast<mqtt::QoS>(arguments_.connection.qos);
  message.payload.assign(std::max(kStampBytes, arguments_.payload_bytes), 'x');
  const Stamp stamp{.due_ns = std::chrono::nanoseconds(due.time_since_epoch()).count(),
                    .run = run_,
                    .publisher = one.index,
                    .number = one.next++};
  std::memcpy(message.payload.data(), &stamp, kStampBytes);
  ++one.open;
  figures_.published.fetch_add(1, std::memory_order_relaxed);
  one.client.AsyncPublish(
      std::move(message), [this, &one, due](absl::StatusOr<client::PublishResult> result) {
        if (result.ok() && result->ok()) {
          figures_.publish.Record(Clock::now() - due);
          // Who sees that all are acknowledged sees what is expected of them.
          figures_.expected.fetch_add(one.subscribers);
          figures_.acknowledged.fetch_add(1);
        } else {
          Failed(result.ok() ? absl::PermissionDeniedError(absl::StrCat(
                                   "the broker refuses a message: ",
                                   base::AbslView(mqtt::ReasonCodeName(result->reason))))
                             : result.status());
        }
        const bool was_full = one.open-- >= arguments_.window;
        if (was_full) asio::post(one.thread->io, [this, &one] { PublishDue(one); });
      });
}

void BenchLoad::StopPublishing() {
  publishing_ = false;
  for (Thread& thread : threads_) {  // What is being published just now.
    std::promise<void> done;
    asio::post(thread.io, [&done] { done.set_value(); });
    done.get_future().wait();
  }
}

void BenchLoad::Close() {
  for (const auto& one : clients_) {
    one->client.AsyncDisconnect([](absl::StatusOr<client::Client::Done>) {});
  }
}

void BenchLoad::Failed(const absl::Status& status) {
  figures_.failed.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard<std::mutex> lock(failure_mutex_);
  if (first_failure_.empty()) first_failure_ = std::string(status.message());
}

std::string BenchLoad::first_failure() const {
  const std::lock_guard<std::mutex> lock(failure_mutex_);
  return first_failure_;
}

}  // namespace mqttctl
