// Clients of all shards, a page at a time.
#ifndef ADMIN_API_CLIENT_PAGES_H_
#define ADMIN_API_CLIENT_PAGES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "admin/api/broker_access.h"
#include "admin/api/method.h"
#include "broker/shard/client_view.h"
#include "mqttd/admin/v1/clients.pb.h"

namespace admin {

// What a filter of the API asks a shard. Errors: kInvalidArgument, in words that name the field.
absl::StatusOr<broker::ClientQuery> ToClientQuery(const pb::ClientFilter& filter, absl::Time now);

// Whether an address ("192.0.2.7") lies in a network ("192.0.2.0/24"), or is that address. Errors:
// the pattern is neither.
absl::StatusOr<std::function<bool(const std::string&)>> ToAddressMatch(const std::string& pattern);

// A place in the list of all clients: what is below was listed. Numbers of connections are never
// used again, so it holds whatever comes and goes.
struct ClientPlace {
  uint32_t shard = 0;
  uint64_t number = 0;
};

struct ClientsFound {
  std::vector<broker::ClientView> clients;
  ClientPlace next;
  bool end = false;
};

// Up to `clients_max` clients from `from` on; then `done`, on some thread. Cost: see
// broker::LookAtClients; a task in a shard's mailbox for each few dozen that are found, or few
// hundred that are not meant.
void FindClients(const BrokerAccess& broker, broker::ClientQuery query, ClientPlace from,
                 size_t clients_max, std::function<void(absl::StatusOr<ClientsFound>)> done);

// Ends the connections of all clients that match; `done` with how many, on some thread.
void KickClients(const BrokerAccess& broker, broker::ClientQuery query,
                 const broker::KickOrder& order,
                 std::function<void(absl::StatusOr<uint64_t>)> done);

// Access has changed: connected clients that match get what is in force now, or are sent away; then
// `done`, with how many were, on some thread.
void RefreshClients(const BrokerAccess& broker, broker::ClientQuery query,
                    std::function<void(absl::StatusOr<uint64_t>)> done);
// Those who proved to be this user; "": those who are nobody.
broker::ClientQuery ClientsOf(const std::string& user_name);

// How many entries a page has, of a PageRequest.
size_t PageSizeOf(const pb::PageRequest& page);

// "7:123", and back; nothing for what is no such token.
std::string PageToken(uint64_t a, uint64_t b);
absl::Status ParsePageToken(std::string_view token, uint64_t& a, uint64_t& b);

}  // namespace admin

#endif  // ADMIN_API_CLIENT_PAGES_H_
