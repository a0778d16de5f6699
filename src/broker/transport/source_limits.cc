#include "broker/transport/source_limits.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace broker {
namespace {

// Where no IPv6 network of anybody is (ffff::/16 is multicast), so that both kinds are one number.
constexpr uint64_t kIpv4 = uint64_t{0xFFFFFFFF} << 32;

uint64_t ValueOf(const in_addr& address) { return kIpv4 | ntohl(address.s_addr); }

uint64_t ValueOf(const in6_addr& address) {
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    in_addr v4;
    std::memcpy(&v4, &address.s6_addr[12], sizeof(v4));
    return ValueOf(v4);
  }
  uint64_t network = 0;
  for (size_t i = 0; i < 8; ++i) network = network << 8 | address.s6_addr[i];
  return network;
}

}  // namespace

std::optional<Source> Source::Of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof(v4));
    return Source(ValueOf(v4.sin_addr));
  }
  if (address.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &address, sizeof(v6));
    return Source(ValueOf(v6.sin6_addr));
  }
  return std::nullopt;
}

std::optional<Source> Source::Of(const std::string& address) {
  in_addr v4;
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return Source(ValueOf(v4));
  in6_addr v6;
  if (inet_pton(AF_INET6, address.c_str(), &v6) == 1) return Source(ValueOf(v6));
  return std::nullopt;
}

SourceLimits::Admission SourceLimits::Admit(Source source, const Bounds& bounds, int64_t now_ns) {
  const base::MutexLock lock(mutex_);
  if (sources_.size() >= sweep_at_) Sweep(now_ns);
  std::shared_ptr<Record>& record = sources_[source];
  if (record == nullptr) record = std::make_shared<Record>(Record{{}, counters_});
  const auto connections = static_cast<uint64_t>(record.use_count() - 1);
  if (bounds.connections_max != 0 && connections >= bounds.connections_max)
    return {Verdict::kTooMany, nullptr};
  if (bounds.connection_rate_max != 0) {
    if (record->rate.WaitFor(now_ns, bounds.connection_rate_max) > 0)
      return {Verdict::kTooFast, nullptr};
    record->rate.Take(now_ns, bounds.connection_rate_max);
  }
  return {Verdict::kAdmitted, std::shared_ptr<ListenerCounters>(record, record->counters.get())};
}

void SourceLimits::Sweep(int64_t now_ns) {
  for (auto it = sources_.begin(); it != sources_.end();) {
    const auto current = it++;
    if (current->second.use_count() == 1 && current->second->rate.IsRested(now_ns))
      sources_.erase(current);
  }
  sweep_at_ = std::max(kSweepMin, sources_.size() * 2);
}

}  // namespace broker
