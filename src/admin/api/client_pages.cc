#include "admin/api/client_pages.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "admin/api/convert.h"
#include "base/by_name.h"
#include "base/status_macros.h"

namespace admin {
namespace {

// An IPv4 address as IPv6 has it, so that both are compared alike.
using AddressBytes = std::array<unsigned char, 16>;

std::optional<AddressBytes> ParseAddress(const std::string& text) {
  AddressBytes bytes{};
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
  bytes = {};
  bytes[10] = bytes[11] = 0xFF;
  if (inet_pton(AF_INET, text.c_str(), bytes.data() + 12) == 1) return bytes;
  return std::nullopt;
}

bool SamePrefix(const AddressBytes& a, const AddressBytes& b, uint32_t bits) {
  if (std::memcmp(a.data(), b.data(), bits / 8) != 0) return false;
  const uint32_t rest = bits % 8;
  return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

// From shard to shard, until the page is full or there is none left. Each step is a task on a
// shard; this lives in it.
class Walk : public std::enable_shared_from_this<Walk> {
 public:
  Walk(const BrokerAccess& broker, broker::ClientQuery query, ClientPlace from, size_t clients_max,
       std::function<void(absl::StatusOr<ClientsFound>)> done)
      : broker_(broker),
        query_(std::move(query)),
        clients_max_(clients_max),
        done_(std::move(done)) {
    found_.next = from;
  }

  void Step() {
    const uint32_t shards = broker_.shards();
    if (shards == 0) return done_(BrokerAccess::Closed());
    const bool more = found_.next.shard < shards;
    if (!more || found_.clients.size() >= clients_max_) {
      found_.end = !more;
      return done_(std::move(found_));
    }
    const bool open = broker_.OnShard(
        static_cast<storage::ShardId>(found_.next.shard),
        [self = shared_from_this()](broker::ShardCore& shard) { self->Look(shard); });
    if (!open) done_(BrokerAccess::Closed());
  }

 private:
  void Look(const broker::ShardCore& shard) {
    broker::ClientPage page = broker::LookAtClients(shard, query_, found_.next.number,
                                                    clients_max_ - found_.clients.size());
    for (broker::ClientView& client : page.clients) found_.clients.push_back(std::move(client));
    found_.next.number = page.next;
    if (page.end) found_.next = {.shard = found_.next.shard + 1};
    Step();
  }

  const BrokerAccess& broker_;
  const broker::ClientQuery query_;
  const size_t clients_max_;
  const std::function<void(absl::StatusOr<ClientsFound>)> done_;
  ClientsFound found_;
};

// All that match are found first, then they are kicked: so who connects again at once is not kicked
// again. The next few are asked for on the spare thread, after a rest: the traffic of the shard,
// and what it costs that so many go at once, comes between.
class KickAll : public std::enable_shared_from_this<KickAll> {
 public:
  KickAll(const BrokerAccess& broker, broker::ClientQuery query, const broker::KickOrder& order,
          std::function<void(absl::StatusOr<uint64_t>)> reply)
      : broker_(broker), query_(std::move(query)), order_(order), reply_(std::move(reply)) {}

  void Find(ClientPlace from) {
    FindClients(broker_, query_, from, broker::kClientsFoundMax,
                [self = shared_from_this()](absl::StatusOr<ClientsFound> found) {
                  if (!found.ok()) return self->reply_(found.status());
                  for (const broker::ClientView& client : found->clients)
                    self->found_.push_back(client.ref);
                  found->end ? self->Kick() : self->Find(found->next);
                });
  }

 private:
  static constexpr size_t kAtOnce = 8;  // To end one is some system calls of its shard.
  static constexpr absl::Duration kRest = absl::Milliseconds(2);  // So 4,000 a second go.

  void Kick() {
    if (found_.empty()) {
      return reply_(kicked_);
    }
    const storage::ShardId shard = found_.back().shard;
    const bool open =
        broker_.OnShard(shard, [self = shared_from_this(), shard](broker::ShardCore& core) {
          std::vector<storage::ConnectionRef>& found = self->found_;
          for (size_t i = 0; i < kAtOnce && !found.empty() && found.back().shard == shard; ++i) {
            self->kicked_ += broker::Kick(core, found.back().connection, self->order_) ? 1 : 0;
            found.pop_back();
          }
          self->broker_.Aside([self] {
            absl::SleepFor(kRest);
            self->Kick();
          });
        });
    if (!open) reply_(BrokerAccess::Closed());
  }

  const BrokerAccess& broker_;
  const broker::ClientQuery query_;
  const broker::KickOrder order_;
  const std::function<void(absl::StatusOr<uint64_t>)> reply_;
  std::vector<storage::ConnectionRef> found_;  // And not kicked.
  uint64_t kicked_ = 0;
};

// As Walk, for what access became.
class Refreshing : public std::enable_shared_from_this<Refreshing> {
 public:
  Refreshing(const BrokerAccess& broker, broker::ClientQuery query,
             std::function<void(absl::StatusOr<uint64_t>)> done)
      : broker_(broker), query_(std::move(query)), done_(std::move(done)) {}

  void Step() {
    const uint32_t shards = broker_.shards();
    if (shards == 0) return done_(BrokerAccess::Closed());
    if (at_.shard >= shards) return done_(sent_away_);
    const bool open = broker_.OnShard(
        static_cast<storage::ShardId>(at_.shard),
        [self = shared_from_this()](broker::ShardCore& shard) { self->Refresh(shard); });
    if (!open) done_(BrokerAccess::Closed());
  }

 private:
  void Refresh(broker::ShardCore& shard) {
    const broker::ClientPage page = broker::RefreshClients(shard, query_, at_.number);
    sent_away_ += page.sent_away;
    at_.number = page.next;
    if (page.end) at_ = {.shard = at_.shard + 1};
    Step();
  }

  const BrokerAccess& broker_;
  const broker::ClientQuery query_;
  const std::function<void(absl::StatusOr<uint64_t>)> done_;
  ClientPlace at_;
  uint64_t sent_away_ = 0;
};

}  // namespace

absl::StatusOr<std::function<bool(const std::string&)>> ToAddressMatch(const std::string& pattern) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(pattern, absl::MaxSplits('/', 1));
  const std::optional<AddressBytes> network = ParseAddress(parts.first);
  const bool v4 = network.has_value() && parts.first.find(':') == std::string::npos;
  uint32_t bits = v4 ? 32 : 128;
  const bool has_bits = pattern.find('/') != std::string::npos;
  const uint32_t bits_max = bits;
  if (!network.has_value() ||
      (has_bits && (!absl::SimpleAtoi(parts.second, &bits) || bits > bits_max))) {
    return absl::InvalidArgumentError(
        absl::StrCat("address: \"", pattern,
                     "\" is no address such as 192.0.2.7 and no network such as "
                     "192.0.2.0/24"));
  }
  if (v4) bits += 96;
  return [network = *network, bits](const std::string& text) {
    const std::optional<AddressBytes> address = ParseAddress(text);
    return address.has_value() && SamePrefix(network, *address, bits);
  };
}

absl::StatusOr<broker::ClientQuery> ToClientQuery(const pb::ClientFilter& filter, absl::Time now) {
  broker::ClientQuery query;
  query.client_id = filter.client_id();
  query.user_name = filter.user_name();
  query.anonymous = filter.anonymous();
  query.listener = filter.listener();
  if (filter.protocol() != pb::PROTOCOL_VERSION_UNSPECIFIED)
    query.version = static_cast<mqtt::Version>(filter.protocol());
  if (filter.has_connected_after())
    query.connected_max = now - FromTimestamp(filter.connected_after()) + absl::Milliseconds(100);
  if (filter.has_connected_before())
    query.connected_min = now - FromTimestamp(filter.connected_before());
  if (!filter.address().empty()) {
    ASSIGN_OR_RETURN(query.address, ToAddressMatch(filter.address()));
  }
  return query;
}

void FindClients(const BrokerAccess& broker, broker::ClientQuery query, ClientPlace from,
                 size_t clients_max, std::function<void(absl::StatusOr<ClientsFound>)> done) {
  std::make_shared<Walk>(broker, std::move(query), from, clients_max, std::move(done))->Step();
}

void KickClients(const BrokerAccess& broker, broker::ClientQuery query,
                 const broker::KickOrder& order,
                 std::function<void(absl::StatusOr<uint64_t>)> done) {
  std::make_shared<KickAll>(broker, std::move(query), order, std::move(done))->Find({});
}

void RefreshClients(const BrokerAccess& broker, broker::ClientQuery query,
                    std::function<void(absl::StatusOr<uint64_t>)> done) {
  std::make_shared<Refreshing>(broker, std::move(query), std::move(done))->Step();
}

broker::ClientQuery ClientsOf(const std::string& user_name) {
  broker::ClientQuery query;
  query.who = [user_name](const broker::Connection& connection) {
    return connection.session->user_name() == user_name;
  };
  return query;
}

size_t PageSizeOf(const pb::PageRequest& page) {
  constexpr size_t kUsual = 100;
  constexpr size_t kMax = 1000;
  return page.size() == 0 ? kUsual : std::min<size_t>(page.size(), kMax);
}

std::string PageToken(uint64_t a, uint64_t b) { return absl::StrCat(a, ":", b); }

absl::Status ParsePageToken(std::string_view token, uint64_t& a, uint64_t& b) {
  if (token.empty()) return absl::OkStatus();
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(base::AbslView(token), absl::MaxSplits(':', 1));
  if (absl::SimpleAtoi(parts.first, &a) && absl::SimpleAtoi(parts.second, &b))
    return absl::OkStatus();
  return absl::InvalidArgumentError("page.token: not one that a page before gave");
}

}  // namespace admin
