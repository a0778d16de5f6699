// Streams that look at what the shards do.
#ifndef ADMIN_API_OBSERVING_H_
#define ADMIN_API_OBSERVING_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "admin/api/broker_access.h"
#include "admin/api/method.h"
#include "base/mutex.h"
#include "broker/shard/observer.h"

namespace admin {

// An observer that looks at nothing: what a stream is interested in, it overrides. One for all
// shards, so its functions are called on several threads at once.
class StreamObserver : public broker::Observer {
 public:
  void OnConnected(const broker::Connection&, bool) override {}
  void OnClosed(const broker::Connection&, broker::CloseCause) override {}
  void OnReceived(const broker::Connection&, const mqtt::FrameHeader&, mqtt::Bytes) override {}
  void OnSent(const broker::Connection&, mqtt::PacketType, size_t) override {}
  void OnDelivered(const broker::Session&, const mqtt::MessageParts&, mqtt::QoS, size_t) override {}
  void OnRouted(const broker::Connection&, const mqtt::MessageParts&,
                const broker::Match&) override {}
  void OnPublishRefused(const broker::Connection&, std::string_view, mqtt::ReasonCode) override {}
  void OnDropped(const broker::Session&, std::string_view, broker::DropCause) override {}
};

// Errors: a part of the broker does not answer. It would come to know neither that a stream begins
// nor that it has ended, and what they leave with it would have no bound.
absl::Status CheckObservable(const BrokerAccess& broker);
// Has the observer look at all shards, then calls `begun`, on some shard's thread. False: the
// broker is not open.
bool BeginObserving(const BrokerAccess& broker, std::shared_ptr<StreamObserver> observer,
                    std::function<void()> begun);
void EndObserving(const BrokerAccess& broker, const std::shared_ptr<StreamObserver>& observer);

// The way to a reader who may be too slow: what found no room is counted, and told of before the
// next entry that finds some. Any thread.
template <typename Response>
class LossyOutlet {
 public:
  // `lost` makes an entry that tells of so many.
  LossyOutlet(std::shared_ptr<Outlet> outlet, std::function<Response(uint64_t)> lost)
      : outlet_(std::move(outlet)), lost_entry_(std::move(lost)) {}

  void Send(const Response& entry) {
    base::MutexLock lock(mutex_);
    if (lost_ != 0 && outlet_->Send(lost_entry_(lost_))) lost_ = 0;
    if (lost_ != 0 || !outlet_->Send(entry)) ++lost_;
  }

 private:
  const std::shared_ptr<Outlet> outlet_;
  const std::function<Response(uint64_t)> lost_entry_;
  base::Mutex mutex_;
  uint64_t lost_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace admin

#endif  // ADMIN_API_OBSERVING_H_
