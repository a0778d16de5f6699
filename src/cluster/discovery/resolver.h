// Where other nodes may be, by DNS.
#ifndef CLUSTER_DISCOVERY_RESOLVER_H_
#define CLUSTER_DISCOVERY_RESOLVER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace cluster {

// Blocks for as long as the system's resolver does. Any thread may call it.
class Resolver {
 public:
  virtual ~Resolver() = default;

  // "HOST:PORT": each of its addresses (A and AAAA) with that port. "_SERVICE._PROTOCOL.NAME": the
  // hosts and ports of its SRV records, by priority. Sorted and without repeats else. Errors, in
  // words: kNotFound, there is no such name; kUnavailable, the name servers do not answer;
  // kInvalidArgument, it is neither of the two.
  virtual absl::StatusOr<std::vector<std::string>> Resolve(const std::string& name) = 0;
};

// The system's: /etc/hosts and what else it is configured to look at; for SRV its name servers.
class SystemResolver final : public Resolver {
 public:
  // `port`: of a name server at 127.0.0.1, in place of the system's; for tests. 0: the system's.
  explicit SystemResolver(uint16_t port = 0) : port_(port) {}
  absl::StatusOr<std::vector<std::string>> Resolve(const std::string& name) override;

 private:
  const uint16_t port_;
};

}  // namespace cluster

#endif  // CLUSTER_DISCOVERY_RESOLVER_H_
