// All subscriptions of a node, a task at a time: those that its partitions have stored, then those
// of the clients that are connected to it.
#ifndef ADMIN_API_SUBSCRIPTION_TOUR_H_
#define ADMIN_API_SUBSCRIPTION_TOUR_H_

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "admin/api/broker_access.h"
#include "storage/core/partition_api.h"

namespace admin {

// Called one after the other, on the host's thread and then on the shards'; `done` aside, where
// it may sort what was found.
struct SubscriptionTour {
  std::function<void(storage::PartitionId partition, std::string_view filter)> on_stored;
  // A durable session's is stored, too, where its partition is led.
  std::function<void(std::string_view filter, bool durable)> on_connected;
  std::function<void(const absl::Status&)> done;  // Once. An error: the broker is stopping.
};

// `broker` outlives it.
void TourSubscriptions(const BrokerAccess& broker, SubscriptionTour tour);

}  // namespace admin

#endif  // ADMIN_API_SUBSCRIPTION_TOUR_H_
