// What links between nodes are made with.
#ifndef CLUSTER_LINK_OPTIONS_H_
#define CLUSTER_LINK_OPTIONS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "cluster/core/link_credit.h"

namespace cluster {

// Each is a stream of its own, so that what is urgent does not wait behind what is much.
enum class LinkClass : uint8_t {
  kControl,  // Leases, votes and heartbeats. What is too much is dropped.
  kLog,      // Entries of Raft groups. What is too much is dropped: Raft sends it again.
  kTraffic,  // Requests, deliveries and messages. Nothing is dropped: who sends waits.
  kBulk,     // Snapshots. Nothing is dropped: who sends waits.
};
inline constexpr size_t kLinkClasses = 4;
inline constexpr bool IsDroppedWhenFull(LinkClass link_class) {
  return link_class == LinkClass::kControl || link_class == LinkClass::kLog;
}

struct LinkTls {
  std::string cert_file;  // Empty: no TLS.
  std::string key_file;
  std::string ca_file;  // Who signed the certificates of the nodes.
  // A node's certificate has to name the host under which it is connected to.
  bool check_names = true;
};

struct LinkOptions {
  std::string listen;  // HOST:PORT; port 0: the system chooses.
  LinkTls tls;
  // Without TLS on an address that is not loopback: whoever reaches the port may read and write
  // everything.
  bool allow_plaintext = false;

  // What may be on its way to a node and untaken there, by class. The same on all nodes.
  std::array<LinkCredit::Amount, kLinkClasses> limits = {{
      {.items = 8 * 1024, .bytes = 4 << 20},
      {.items = 8 * 1024, .bytes = 32 << 20},
      {.items = 16 * 1024, .bytes = 64 << 20},
      {.items = 64, .bytes = 16 << 20},
  }};
  size_t frame_bytes_max = 1 << 20;  // One item more may be in it.
  size_t item_bytes_max = 64 << 20;

  absl::Duration heartbeat = absl::Milliseconds(500);
  // A node that does not answer for so long is not connected.
  absl::Duration silence_max = absl::Seconds(3);
  absl::Duration connect_within = absl::Seconds(3);
  absl::Duration retry_first = absl::Milliseconds(100);
  absl::Duration retry_most = absl::Seconds(2);
};

}  // namespace cluster

#endif  // CLUSTER_LINK_OPTIONS_H_
