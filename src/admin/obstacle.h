// Why a broker that runs is no good for more clients.
#ifndef ADMIN_OBSTACLE_H_
#define ADMIN_OBSTACLE_H_

#include <string>

#include "broker/metrics.h"

namespace admin {

// Why a broker that is ready is no good for more clients all the same: with memory short they would
// be refused, and while nothing can be stored those that want it to be. Empty: it is.
std::string Obstacle(const broker::MetricsSnapshot& snapshot);

}  // namespace admin

#endif  // ADMIN_OBSTACLE_H_
