// What the kernel says about this process.
#ifndef ADMIN_PROCESS_STATS_H_
#define ADMIN_PROCESS_STATS_H_

#include <cstdint>

namespace admin {

struct ProcessStats {
  double cpu_seconds = 0;  // User and system, all threads.
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  uint64_t open_fds = 0;
  uint64_t max_fds = 0;
  uint64_t threads = 0;
};

// What cannot be read stays 0. Costs some system calls: once per scrape.
ProcessStats ReadProcessStats();

}  // namespace admin

#endif  // ADMIN_PROCESS_STATS_H_
