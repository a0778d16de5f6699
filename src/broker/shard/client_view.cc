#include "broker/shard/client_view.h"

#include <algorithm>
#include <functional>

#include "base/glob.h"
#include "broker/shard/access_refresh.h"

namespace broker {
namespace {

absl::Duration Ago(const ShardCore& shard, uint32_t tick) {
  const uint32_t ticks = shard.now_tick - std::min(tick, shard.now_tick);
  return absl::Milliseconds(int64_t{ticks} * 1000 / ShardContext::kTicksPerSecond);
}

const Connection* Connected(const ShardCore& shard, uint64_t number) {
  const Connection* const connection = shard.Find(number);
  const bool is = connection != nullptr && connection->phase == Phase::kConnected &&
                  connection->session != nullptr;
  return is ? connection : nullptr;
}

bool TextMatches(const std::string& pattern, std::string_view text) {
  return pattern.empty() || base::GlobMatches(pattern, text);
}

bool Matches(const ShardCore& shard, const ClientQuery& query, const Connection& connection) {
  const Session& session = *connection.session;
  // The process's own are nobody's clients, unless they are asked for.
  if (connection.listener.inside && query.listener != connection.listener.name) return false;
  if (!TextMatches(query.client_id, session.client_id.view())) return false;
  if (!TextMatches(query.user_name, session.user_name())) return false;
  if (query.anonymous && !session.user_name().empty()) return false;
  if (!query.listener.empty() && connection.listener.name != query.listener) return false;
  if (query.version != mqtt::Version::kUnknown && connection.version != query.version) return false;
  if (query.transient_only && session.durable) return false;
  const absl::Duration connected = Ago(shard, connection.phase_tick);
  if (connected < query.connected_min || connected >= query.connected_max) return false;
  if (query.who != nullptr && !query.who(connection)) return false;
  return query.address == nullptr || query.address(connection.stream->peer().address);
}

ClientView ViewOf(const ShardCore& shard, const Connection& connection) {
  const Session& session = *connection.session;
  ClientView view;
  view.ref = connection.ref;
  view.client_id = session.client_id.view();
  view.user_name = session.user_name();
  view.listener = connection.listener.name;
  view.peer = connection.stream->peer();
  view.version = connection.version;
  view.tls = connection.listener.tls;
  view.websocket = connection.listener.websocket;
  view.connected = Ago(shard, connection.phase_tick);
  view.idle = Ago(shard, connection.last_packet_tick);
  view.keep_alive_s = connection.keep_alive_s;
  view.durable = session.durable;
  view.session_expiry_s = session.session_expiry_s;
  view.subscriptions = session.subscriptions.size();
  view.inflight_out = session.outbound.in_flight();
  view.inflight_in = session.inbound.awaiting_pubrel();
  view.queued_messages = session.outbound.queued_messages();
  view.queued_bytes = session.outbound.queued_bytes();
  view.output_bytes = connection.output.bytes();
  view.window = session.outbound.window();
  view.packet_size_max = session.packet_size_max;
  view.bridge = session.bridge;
  view.will = session.had_will;
  view.pauses = connection.pauses;
  return view;
}

}  // namespace

storage::SubscriptionRecord SubscriptionOf(ShardCore& shard, const Session& session,
                                           std::string_view filter) {
  storage::SubscriptionRecord record;
  record.filter = filter;
  if (const Subscriber* const found = shard.router.FindSubscriber(filter, &session)) {
    record.options.qos = found->options.qos;
    record.options.no_local = found->options.no_local;
    record.options.retain_as_published = found->options.retain_as_published;
    record.subscription_id = found->subscription_id;
  } else if (const ShareGroup* const group = shard.router.FindGroup(filter)) {
    const ShareMember* const member = group->Find(session.client_id.view());
    if (member != nullptr) {
      record.options = member->options;
      record.subscription_id = member->subscription_id;
    }
  }
  return record;
}

std::vector<uint64_t> NextConnections(const ShardCore& shard, uint64_t after, size_t count) {
  std::vector<uint64_t> numbers;
  const auto& all = shard.connection_numbers;
  for (auto it = all.upper_bound(after); it != all.end() && numbers.size() < count; ++it)
    numbers.push_back(*it);
  return numbers;
}

ClientPage LookAtClients(const ShardCore& shard, const ClientQuery& query, uint64_t after,
                         size_t clients_max, size_t looked_max) {
  ClientPage page;
  page.next = after;
  const std::vector<uint64_t> numbers = NextConnections(shard, after, looked_max);
  page.end = numbers.size() < looked_max;
  for (const uint64_t number : numbers) {
    if (page.clients.size() == std::min(clients_max, kClientsFoundMax)) {
      page.end = false;
      break;
    }
    page.next = number;
    const Connection* const connection = Connected(shard, number);
    if (connection != nullptr && Matches(shard, query, *connection))
      page.clients.push_back(ViewOf(shard, *connection));
  }
  return page;
}

std::optional<ClientView> LookAtClient(const ShardCore& shard, uint64_t number) {
  const Connection* const connection = Connected(shard, number);
  if (connection == nullptr) return std::nullopt;
  return ViewOf(shard, *connection);
}

std::optional<SessionView> LookAtSession(ShardCore& shard, uint64_t number) {
  const Connection* const connection = Connected(shard, number);
  if (connection == nullptr) return std::nullopt;
  const Session& session = *connection->session;
  SessionView view;
  view.window = session.outbound.window();
  session.subscriptions.ForEach([&](std::string_view filter) {
    view.subscriptions.push_back(SubscriptionOf(shard, session, filter));
  });
  std::sort(view.subscriptions.begin(), view.subscriptions.end(),
            [](const auto& a, const auto& b) { return a.filter < b.filter; });
  session.outbound.ForEachInFlight([&](uint16_t id, InFlightTable::State state) {
    view.out.push_back({id, state});
  });
  std::sort(view.out.begin(), view.out.end(),
            [](const auto& a, const auto& b) { return a.packet_id < b.packet_id; });
  session.inbound.ForEachAwaitingPubRel([&](uint16_t id) { view.in.push_back(id); });
  std::sort(view.in.begin(), view.in.end());
  return view;
}

ClientPage RefreshClients(ShardCore& shard, const ClientQuery& query, uint64_t after,
                          size_t looked_max) {
  ClientPage page;
  page.next = after;
  const std::vector<uint64_t> numbers = NextConnections(shard, after, looked_max);
  page.end = numbers.size() < looked_max;
  for (const uint64_t number : numbers) {
    page.next = number;
    const Connection* const connection = Connected(shard, number);
    if (connection == nullptr || !Matches(shard, query, *connection)) continue;
    page.sent_away += RefreshPermissions(shard, *shard.Find(number)) ? 0 : 1;
  }
  if (page.end) RenewReaders(shard);
  return page;
}

bool Kick(ShardCore& shard, uint64_t number, const KickOrder& order) {
  Connection* const connection = shard.Find(number);
  if (Connected(shard, number) == nullptr) return false;
  CloseOrder close{.cause = CloseCause::kAdministrative, .say = order.reason};
  if (order.suppress_will) close.session = storage::CloseCause::kNormal;
  if (order.end_session) close.expiry_s = 0;
  shard.Close(*connection, close);
  return true;
}

}  // namespace broker
