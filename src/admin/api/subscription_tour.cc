#include "admin/api/subscription_tour.h"

#include <cstdint>
#include <memory>
#include <utility>

#include "broker/shard/subscription_walk.h"
#include "storage/leader/host.h"
#include "storage/leader/session_view.h"

namespace admin {
namespace {

using Tour = std::shared_ptr<const SubscriptionTour>;

void StepShard(const BrokerAccess& broker, const Tour& tour, uint32_t shard, uint64_t after) {
  const uint32_t shards = broker.shards();
  if (shards == 0) return tour->done(BrokerAccess::Closed());
  if (shard >= shards) return broker.Aside([tour] { tour->done(absl::OkStatus()); });
  const bool open = broker.OnShard(
      static_cast<storage::ShardId>(shard), [&broker, tour, shard, after](broker::ShardCore& core) {
        const auto step = broker::VisitSubscriptions(core, after, tour->on_connected);
        step.end ? StepShard(broker, tour, shard + 1, 0)
                 : StepShard(broker, tour, shard, step.next);
      });
  if (!open) tour->done(BrokerAccess::Closed());
}

void StepHost(const BrokerAccess& broker, const Tour& tour, storage::SessionPlace from) {
  const bool open = broker.OnHost([&broker, tour, from](storage::Host& host) {
    const auto next = storage::VisitSubscriptions(host.node(), from, tour->on_stored);
    next.has_value() ? StepHost(broker, tour, *next) : StepShard(broker, tour, 0, 0);
  });
  if (!open) tour->done(BrokerAccess::Closed());
}

}  // namespace

void TourSubscriptions(const BrokerAccess& broker, SubscriptionTour tour) {
  StepHost(broker, std::make_shared<const SubscriptionTour>(std::move(tour)), {});
}

}  // namespace admin
