// What partitions are bounded by.
#ifndef STORAGE_LEADER_LIMITS_H_
#define STORAGE_LEADER_LIMITS_H_

#include "storage/core/options.h"

namespace mqttd::storage::v1 {
class Limits;
}

namespace storage {

// As each partition's state is to have it. 0: without a bound.
::mqttd::storage::v1::Limits LimitsOf(const StorageOptions& options);

}  // namespace storage

#endif  // STORAGE_LEADER_LIMITS_H_
