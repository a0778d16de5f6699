// mqttd.admin.v1.Topics: who subscribes to what, and what is published most.
#ifndef ADMIN_API_TOPICS_SERVICE_H_
#define ADMIN_API_TOPICS_SERVICE_H_

#include "admin/api/broker_access.h"
#include "admin/api/method.h"
#include "admin/api/topic_samples.h"

namespace admin {

// Both outlive the handlers.
void AddTopicsService(const BrokerAccess& broker, TopicSamples& samples, Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_TOPICS_SERVICE_H_
