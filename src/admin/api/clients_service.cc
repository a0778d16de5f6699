#include "admin/api/clients_service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "admin/api/client_pages.h"
#include "admin/api/convert.h"
#include "admin/api/elsewhere.h"
#include "mqtt/reason_code.h"
#include "mqtt/types.h"
#include "mqttd/admin/v1/clients.pb.h"
#include "storage/leader/host.h"
#include "storage/leader/session_view.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Clients";

pb::Client ToProto(const broker::ClientView& view, const std::string& node, absl::Time now) {
  pb::Client client;
  client.set_client_id(view.client_id);
  client.set_user_name(view.user_name);
  client.set_node(node);
  client.set_shard(view.ref.shard);
  client.set_listener(view.listener);
  client.set_address(view.peer.address);
  client.set_port(view.peer.port);
  client.set_protocol(static_cast<pb::ProtocolVersion>(view.version));
  client.set_tls(view.tls);
  client.set_websocket(view.websocket);
  *client.mutable_connected() = ToTimestamp(now - view.connected);
  *client.mutable_idle() = ToDuration(view.idle);
  *client.mutable_keep_alive() = ToDuration(absl::Seconds(view.keep_alive_s));
  client.set_durable(view.durable);
  client.set_session_never_expires(view.session_expiry_s == storage::kExpiryNever);
  if (!client.session_never_expires())
    *client.mutable_session_expiry() = ToDuration(absl::Seconds(view.session_expiry_s));
  client.set_subscriptions(static_cast<uint32_t>(view.subscriptions));
  client.set_inflight_out(static_cast<uint32_t>(view.inflight_out));
  client.set_inflight_in(static_cast<uint32_t>(view.inflight_in));
  client.set_output_bytes(view.output_bytes);
  client.set_receive_maximum(view.window);
  client.set_maximum_packet_size(view.packet_size_max);
  client.set_bridge(view.bridge);
  client.set_will(view.will);
  const std::pair<broker::PauseReason, const char*> reasons[] = {
      {broker::kPauseReceiveMaximum, "receive_maximum"},
      {broker::kPauseCommits, "commits"},
      {broker::kPauseRequests, "requests"},
      {broker::kPauseForwards, "other_shard"},
      {broker::kPauseAnswers, "answers_not_read"},
      {broker::kPauseThrottle, "throttle"},
      {broker::kPauseMemory, "memory"}};
  for (const auto& [reason, words] : reasons) {
    if ((view.pauses & reason) != 0) client.add_paused(words);
  }
  return client;
}

absl::Status NotConnected(const std::string& client_id) {
  return absl::NotFoundError(absl::StrCat("no client \"", client_id, "\" is connected"));
}

pb::ListClientsResponse PageOf(const ClientsFound& found, const std::string& node, absl::Time now) {
  pb::ListClientsResponse response;
  for (const broker::ClientView& view : found.clients)
    *response.add_clients() = ToProto(view, node, now);
  if (!found.end) response.mutable_page()->set_next(PageToken(found.next.shard, found.next.number));
  return response;
}

void List(const BrokerAccess& broker, const pb::ListClientsRequest& request,
          Reply<pb::ListClientsResponse> reply) {
  const absl::Time now = broker.sources().clock->Now();
  auto query = ToClientQuery(request.filter(), now);
  uint64_t shard = 0;
  uint64_t number = 0;
  absl::Status status = query.status();
  if (status.ok()) status = ParsePageToken(request.page().token(), shard, number);
  if (status.ok()) status = broker.CheckOpen();
  if (!status.ok()) return reply(status);
  FindClients(broker, *std::move(query), {static_cast<uint32_t>(shard), number},
              PageSizeOf(request.page()),
              [&broker, now, reply = std::move(reply)](absl::StatusOr<ClientsFound> found) {
                if (!found.ok()) return reply(found.status());
                broker.Aside([&broker, now, reply, found = *std::move(found)] {
                  reply(PageOf(found, broker.sources().node_id(), now));
                });
              });
}

// Where the client is connected; absent: it is not.
void Locate(const BrokerAccess& broker, const Caller& caller, std::string client_id,
            std::function<void(absl::StatusOr<storage::ConnectionRef>)> done) {
  if (caller.connection.has_value()) return done(*caller.connection);
  const bool open = broker.OnHost([client_id = std::move(client_id), done](storage::Host& host) {
    const storage::IdentifierView view = storage::LookAtIdentifier(host.node(), client_id);
    if (view.connection.has_value()) return done(*view.connection);
    if (!view.led) return done(NotLedHere());
    done(view.elsewhere.has_value() ? ConnectedElsewhere(client_id, *view.elsewhere)
                                    : NotConnected(client_id));
  });
  if (!open) done(broker.CheckOpen());
}

void Get(const BrokerAccess& broker, const Caller& caller, const pb::GetClientRequest& request,
         Reply<pb::GetClientResponse> reply) {
  const std::string client_id = request.client_id();
  Locate(broker, caller, client_id,
         [&broker, client_id,
          reply = std::move(reply)](const absl::StatusOr<storage::ConnectionRef>& ref) {
           if (!ref.ok()) return reply(ref.status());
           const bool open = broker.OnShard(
               ref->shard,
               [&broker, client_id, reply, number = ref->connection](broker::ShardCore& shard) {
                 const auto view = broker::LookAtClient(shard, number);
                 if (!view.has_value()) return reply(NotConnected(client_id));
                 pb::GetClientResponse response;
                 *response.mutable_client() =
                     ToProto(*view, broker.sources().node_id(), broker.sources().clock->Now());
                 reply(std::move(response));
               });
           if (!open) reply(BrokerAccess::Closed());
         });
}

absl::StatusOr<broker::KickOrder> ToKickOrder(const pb::KickClientsRequest& request) {
  broker::KickOrder order;
  order.end_session = request.end_session();
  order.suppress_will = request.suppress_will();
  if (request.reason_code() == 0) return order;
  if (request.reason_code() < 0x80 || request.reason_code() > 0xFF)
    return absl::InvalidArgumentError("reason_code: of DISCONNECT, 128 (0x80) or more");
  order.reason = static_cast<mqtt::ReasonCode>(request.reason_code());
  if (!mqtt::IsAllowed(order.reason, mqtt::PacketType::kDisconnect)) {
    return absl::InvalidArgumentError(
        absl::StrCat("reason_code: DISCONNECT has no 0x", absl::Hex(request.reason_code()),
                     "; use another one, such as 0x98 (administrative action)"));
  }
  return order;
}

void KickOne(const BrokerAccess& broker, const Caller& caller, const std::string& client_id,
             const broker::KickOrder& order, Reply<pb::KickClientsResponse> reply) {
  Locate(broker, caller, client_id,
         [&broker, client_id, order,
          reply = std::move(reply)](const absl::StatusOr<storage::ConnectionRef>& ref) {
           if (!ref.ok()) return reply(ref.status());
           const bool open = broker.OnShard(
               ref->shard,
               [client_id, order, reply, number = ref->connection](broker::ShardCore& shard) {
                 if (!broker::Kick(shard, number, order)) return reply(NotConnected(client_id));
                 pb::KickClientsResponse response;
                 response.set_kicked(1);
                 reply(std::move(response));
               });
           if (!open) reply(BrokerAccess::Closed());
         });
}

void Kick(const BrokerAccess& broker, const Caller& caller, const pb::KickClientsRequest& request,
          Reply<pb::KickClientsResponse> reply) {
  const auto order = ToKickOrder(request);
  if (!order.ok()) return reply(order.status());
  if (absl::Status status = broker.CheckOpen(); !status.ok()) return reply(status);
  if (request.target_case() == pb::KickClientsRequest::kClientId)
    return KickOne(broker, caller, request.client_id(), *order, std::move(reply));
  // Or a slip of the finger would disconnect everybody.
  if (request.filter().ByteSizeLong() == 0) {
    return reply(absl::InvalidArgumentError(
        "whom? client_id, or a filter that restricts something; client_id \"*\" is everybody"));
  }
  auto query = ToClientQuery(request.filter(), broker.sources().clock->Now());
  if (!query.ok()) return reply(query.status());
  KickClients(broker, *std::move(query), *order,
              [reply = std::move(reply)](const absl::StatusOr<uint64_t>& kicked) {
                if (!kicked.ok()) return reply(kicked.status());
                pb::KickClientsResponse response;
                response.set_kicked(*kicked);
                reply(std::move(response));
              });
}

}  // namespace

void AddClientsService(const BrokerAccess& broker, Methods& methods) {
  methods.Add<pb::ListClientsRequest, pb::ListClientsResponse>(
      kService, "List",
      [&broker](const Caller&, const pb::ListClientsRequest& request, auto reply) {
        List(broker, request, std::move(reply));
      });
  methods.Add<pb::GetClientRequest, pb::GetClientResponse>(
      kService, "Get",
      [&broker](const Caller& caller, const pb::GetClientRequest& request, auto reply) {
        Get(broker, caller, request, std::move(reply));
      });
  methods.Add<pb::KickClientsRequest, pb::KickClientsResponse>(
      kService, "Kick",
      [&broker](const Caller& caller, const pb::KickClientsRequest& request, auto reply) {
        Kick(broker, caller, request, std::move(reply));
      });
}

}  // namespace admin
