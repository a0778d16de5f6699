// Connections of one listener by where they come from: how many at a time, and how many a second.
#ifndef BROKER_TRANSPORT_SOURCE_LIMITS_H_
#define BROKER_TRANSPORT_SOURCE_LIMITS_H_

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "base/rate_meter.h"
#include "broker/transport/listener_counters.h"

namespace broker {

// Where a connection comes from: an IPv4 address, or the first 64 bits of an IPv6 address, for
// whoever has one of those has all of that network. An IPv4 address within IPv6 is the IPv4
// address.
class Source {
 public:
  // None: a unix socket, or no address at all. They are not limited.
  static std::optional<Source> Of(const sockaddr_storage& address);
  static std::optional<Source> Of(const std::string& address);  // As in PeerInfo.

  uint64_t value() const { return value_; }  // Another one for another source; never 0.

  friend bool operator==(Source, Source) = default;
  template <typename H>
  friend H AbslHashValue(H state, Source source) {
    return H::combine(std::move(state), source.value_);
  }

 private:
  explicit Source(uint64_t value) : value_(value) {}
  uint64_t value_;
};

// Thread-safe. Remembers a source while it has connections and for a second longer, so its size is
// bounded by those and by the rate at which connections come.
class SourceLimits {
 public:
  // 0: not limited.
  struct Bounds {
    uint32_t connections_max = 0;
    uint32_t connection_rate_max = 0;  // Per second.
    bool any() const { return connections_max != 0 || connection_rate_max != 0; }
  };

  enum class Verdict { kAdmitted, kTooMany, kTooFast };
  struct Admission {
    Verdict verdict = Verdict::kAdmitted;
    // Stands for one connection as long as it lives; `counters` are reached through it. Null unless
    // admitted.
    std::shared_ptr<ListenerCounters> place;
  };

  explicit SourceLimits(std::shared_ptr<ListenerCounters> counters)
      : counters_(std::move(counters)) {}

  // One that is refused for being too many is not counted in the rate.
  Admission Admit(Source source, const Bounds& bounds, int64_t now_ns);

  size_t size() const {
    const base::MutexLock lock(mutex_);
    return sources_.size();
  }

 private:
  // Each connection's place shares the record, so their number is its use count.
  struct Record {
    base::RateMeter rate;
    std::shared_ptr<ListenerCounters> counters;
  };

  void Sweep(int64_t now_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  static constexpr size_t kSweepMin = 1024;

  const std::shared_ptr<ListenerCounters> counters_;
  mutable base::Mutex mutex_;
  absl::flat_hash_map<Source, std::shared_ptr<Record>> sources_ ABSL_GUARDED_BY(mutex_);
  size_t sweep_at_ ABSL_GUARDED_BY(mutex_) = kSweepMin;
};

// All that is counted of the connections that came in at a listener. A listener that takes the
// place of one that was closed goes on with its count: who came in there is still connected, and
// the bounds hold for both together.
struct ListenerCount {
  const std::shared_ptr<ListenerCounters> counters = std::make_shared<ListenerCounters>();
  SourceLimits sources{counters};
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_SOURCE_LIMITS_H_
