// How much of a disk the logs keep for nodes that are away.
#ifndef CLUSTER_KEPT_BYTES_H_
#define CLUSTER_KEPT_BYTES_H_

#include <algorithm>
#include <cstdint>

namespace cluster {

struct LogDisk {
  uint64_t capacity = 0;
  uint64_t free = 0;
  uint64_t log = 0;  // Of what is not free, the log's.
};

// A quarter of the disk, but no more than half of what all else leaves free: one node that is away
// must not fill the disks of the others.
inline uint64_t KeptBytes(const LogDisk& disk) {
  return std::min(disk.capacity / 4, (disk.free + disk.log) / 2);
}

}  // namespace cluster

#endif  // CLUSTER_KEPT_BYTES_H_
