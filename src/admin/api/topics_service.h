// mqttd.admin.v1.Topics: who subscribes to what, and what is published most.
#ifndef ADMIN_API_TOPICS_SERVICE_H_
#define ADMIN_API_TOPICS_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/method.h"
#include "admin/api/topic_samples.h"
#include "mqttd/admin/v1/topics.pb.h"

namespace admin {

// Most filters that one answer lists.
inline constexpr uint32_t kFiltersListedMax = 10'000;
// Those with most subscriptions first, and no more than are asked for.
void KeepFirst(const pb::ListFiltersRequest& request,
               google::protobuf::RepeatedPtrField<pb::FilterCount>& filters);

// Both outlive the handlers.
void AddTopicsService(const BrokerAccess& broker, TopicSamples& samples, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_TOPICS_SERVICE_H_
