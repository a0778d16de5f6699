// What the metrics page tells of the admin API.
#ifndef ADMIN_ADMIN_CALLS_H_
#define ADMIN_ADMIN_CALLS_H_

#include <cstdint>

namespace admin {

struct AdminCalls {
  // Under way.
  uint64_t calls = 0;
  uint64_t streams = 0;
  uint64_t open = 0;         // Of methods that anybody may call, not among those above.
  uint64_t left_behind = 0;  // Nobody waits for their answers, which have not come.
  // Since the start.
  uint64_t grpc = 0;
  uint64_t http = 0;
  uint64_t refused_unauthenticated = 0;
  uint64_t refused_role = 0;
  uint64_t refused_full = 0;
};

}  // namespace admin

#endif  // ADMIN_ADMIN_CALLS_H_
