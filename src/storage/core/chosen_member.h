// Whom of a `$share` group a message is for, as shards and nodes tell each other.
#ifndef STORAGE_CORE_CHOSEN_MEMBER_H_
#define STORAGE_CORE_CHOSEN_MEMBER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "mqtt/types.h"
#include "storage/core/addresses.h"

namespace storage {

struct ChosenMember {
  std::string filter;  // "$share/group/filter"
  ConnectionRef connection;
  mqtt::SubscriptionOptions options;
  uint32_t subscription_id = 0;
  bool last_choice = false;  // As far as whoever chose it knows no member has room.
  // How often the message has gone from one node to another for the group.
  uint32_t hops = 0;
  // Members that were chosen before and may not read it, as their shards said.
  std::vector<ConnectionRef> without_right;
};

}  // namespace storage

#endif  // STORAGE_CORE_CHOSEN_MEMBER_H_
