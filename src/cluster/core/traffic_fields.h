// The fields of each message of traffic.proto, once: writing, measuring and reading go through
// them.
#ifndef CLUSTER_CORE_TRAFFIC_FIELDS_H_
#define CLUSTER_CORE_TRAFFIC_FIELDS_H_

#include <concepts>
#include <type_traits>

#include "absl/status/status.h"
#include "cluster/core/node_item.h"
#include "storage/core/chosen_member.h"
#include "storage/core/partition_api.h"

namespace cluster::traffic {

template <typename Value, typename Type>
concept Is = std::same_as<std::remove_const_t<Value>, Type>;

// `visit(number, member)` for each field of `value`, which is const where it is only looked at.
template <typename Visit, Is<storage::ConnectionRef> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.node);
  visit(2, value.shard);
  visit(3, value.incarnation);
  visit(4, value.connection);
}

template <typename Visit, Is<storage::SubscriptionRecord> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.filter);
  visit(2, value.options);
  visit(3, value.subscription_id);
}

template <typename Visit, Is<storage::SharedTarget> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.client_id);
  visit(2, value.filter);
  visit(3, value.options);
  visit(4, value.subscription_id);
  visit(5, value.last_choice);
  visit(6, value.transient);
}

template <typename Visit, Is<storage::OutboxRef> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.partition);
  visit(2, value.number);
  visit(3, value.kept_from);
}

template <typename Visit, Is<storage::ChosenMember> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.filter);
  visit(2, value.connection);
  visit(3, value.options);
  visit(4, value.subscription_id);
  visit(5, value.last_choice);
  visit(6, value.hops);
  visit(7, value.without_right);
}

// ---- Requests -----------------------------------------------------------------------------------

template <typename Visit, Is<storage::OpenSession> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.connection);
  visit(3, value.client_id);
  visit(4, value.user_name);
  visit(5, value.listener);
  visit(6, value.of_any_user);
  visit(7, value.only_known);
  visit(8, value.user_sessions_max);
  visit(9, value.version);
  visit(10, value.clean_start);
  visit(11, value.expiry_s);
  visit(12, value.window_messages);
  visit(13, value.window_bytes);
  visit(14, value.packet_size_max);
  visit(15, value.will);
  visit(16, value.will_delay_s);
}

template <typename Visit, Is<storage::CloseSession> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.client_id);
  visit(2, value.epoch);
  visit(3, value.connection);
  visit(4, value.cause);
  visit(5, value.expiry_s);
  visit(6, value.sent_through);
}

template <typename Visit, Is<storage::Subscribe> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.client_id);
  visit(3, value.epoch);
  visit(4, value.subscriptions);
}

template <typename Visit, Is<storage::Unsubscribe> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.client_id);
  visit(3, value.epoch);
  visit(4, value.filters);
}

template <typename Visit, Is<storage::Publish> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.message);
  visit(3, value.partitions);
  visit(4, value.shared_targets);
  visit(5, value.partition);
  visit(7, value.set_retained);
  visit(10, value.outbox);
  visit(11, value.outbox_after);
}

template <typename Visit, Is<storage::AcceptInbound> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.client_id);
  visit(3, value.epoch);
  visit(4, value.packet_id);
  visit(5, value.message);
  visit(6, value.partitions);
  visit(7, value.targets);
  visit(8, value.clears_only);
}

template <typename Visit, Is<storage::OutboxDone> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.partition);
  visit(3, value.number);
  visit(4, value.fate);
  visit(5, value.members_told);
}

template <typename Visit, Is<storage::OutboxAssign> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.partition);
  visit(2, value.number);
  visit(3, value.targets);
}

template <typename Visit, Is<storage::Acknowledge::Entry> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.sequence);
  visit(2, value.kind);
}

template <typename Visit, Is<storage::Acknowledge> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.client_id);
  visit(2, value.epoch);
  visit(3, value.entries);
}

template <typename Visit, Is<storage::ReleaseInbound> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.client_id);
  visit(3, value.epoch);
  visit(4, value.packet_ids);
}

template <typename Visit, Is<storage::ScanRetained> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.filter);
  visit(3, value.cursor);
  visit(4, value.others);
  visit(5, value.messages_max);
}

template <typename Visit, Is<storage::ConfirmRoutes> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.number);
}

template <typename Visit, Is<storage::ReplayTaken> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.client_id);
  visit(2, value.epoch);
}

template <typename Visit, Is<storage::Claims::Held> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.client_id);
  visit(2, value.user_name);
  visit(3, value.connection);
  visit(4, value.epoch);
  visit(5, value.window_messages);
  visit(6, value.window_bytes);
  visit(7, value.packet_size_max);
  visit(8, value.sent_through);
  visit(9, value.in_flight);
}

template <typename Visit, Is<storage::Claims> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.partition);
  visit(2, value.life);
  visit(3, value.kept_from);
  visit(4, value.repeats);
  visit(5, value.held);
  visit(6, value.by);
  visit(7, value.further);
}

// ---- Events -------------------------------------------------------------------------------------

template <typename Visit, Is<storage::SessionOpened> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.status);
  visit(3, value.refusal);
  visit(4, value.session_present);
  visit(5, value.durable);
  visit(6, value.partition);
  visit(7, value.epoch);
  visit(8, value.subscriptions);
  visit(9, value.inbound_qos2);
}

template <typename Visit, Is<storage::TakenOver> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.connection);
  visit(2, value.client_id);
  visit(3, value.epoch);
}

template <typename Visit, typename Value>
requires Is<Value, storage::SubscribeDone> || Is<Value, storage::InboundReleased>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.status);
}

template <typename Visit, Is<storage::UnsubscribeDone> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.status);
  visit(3, value.existed);
}

template <typename Visit, Is<storage::Published> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.status);
  visit(3, value.duplicate);
  visit(4, value.partition);
}

template <typename Visit, Is<storage::Delivery> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.sequence);
  visit(2, value.message);
  visit(3, value.qos);
  visit(4, value.retain);
  visit(5, value.dup);
  visit(6, value.replay);
  visit(7, value.release);
  visit(8, value.subscription_ids);
}

template <typename Visit, Is<storage::Deliver> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.connection);
  visit(2, value.epoch);
  visit(3, value.entries);
}

template <typename Visit, Is<storage::ReleaseDue> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.connection);
  visit(2, value.epoch);
  visit(3, value.sequences);
}

template <typename Visit, Is<storage::RetainedPage> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.token);
  visit(2, value.status);
  visit(3, value.messages);
  visit(4, value.cursor);
  visit(5, value.passed);
}

template <typename Visit, Is<storage::RouteChange> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.number);
  visit(2, value.add);
  visit(3, value.partition);
  visit(4, value.filter);
}

template <typename Visit, Is<storage::RouteBlock> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.number);
  visit(2, value.partition);
  visit(3, value.filters);
}

template <typename Visit, Is<storage::ShareMemberChange> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.number);
  visit(2, value.state);
  visit(3, value.partition);
  visit(4, value.client_id);
  visit(5, value.user_name);
  visit(6, value.listener);
  visit(7, value.subscription);
  visit(8, value.connection);
  visit(9, value.packet_size_max);
}

template <typename Visit, Is<storage::ShareMemberRoom> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.client_id);
  visit(2, value.has_room);
}

template <typename Visit, Is<storage::SessionTooSlow> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.connection);
  visit(2, value.epoch);
}

template <typename Visit, Is<storage::RouteMessage> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.message);
  visit(2, value.only_filter);
  visit(4, value.groups_only);
  visit(5, value.outbox);
  visit(6, value.targets);
  visit(7, value.without);
  visit(8, value.clears_only);
  visit(9, value.in_order);
}

template <typename Visit, Is<storage::StreamAck> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.partition);
  visit(2, value.through);
}

template <typename Visit, Is<storage::ClaimsWanted> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.partition);
  visit(2, value.life);
  visit(3, value.by);
}

template <typename Visit, Is<storage::StorageState> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.status);
}

// ---- Between nodes ------------------------------------------------------------------------------

template <typename Visit, Is<ForwardsTaken> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.through);
  visit(2, value.messages);
  visit(3, value.bytes);
}

template <typename Visit, Is<RoutesWanted> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.ask);
  visit(2, value.life);
  visit(3, value.number);
}

template <typename Visit, Is<RouteDelta> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.key);
  visit(2, value.add);
}

template <typename Visit, Is<RoutesTold> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.ask);
  visit(2, value.frame.life);
  visit(3, value.frame.begin);
  visit(4, value.frame.after);
  visit(5, value.frame.through);
  visit(6, value.frame.whole);
  visit(7, value.frame.changes);
}

template <typename Visit, Is<RoutesTaken> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.ask);
  visit(2, value.frames);
  visit(3, value.life);
  visit(4, value.number);
}

template <typename Visit, Is<storage::KnowRoutes> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.partition);
  visit(2, value.index);
  visit(3, value.ticket);
}

template <typename Visit, Is<storage::RoutesKnown> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.partition);
  visit(2, value.ticket);
}

template <typename Visit, Is<storage::FeedRoutes> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.partition);
  visit(2, value.feed);
  visit(3, value.number);
  visit(4, value.whole);
  visit(5, value.index);
  visit(6, value.wants_taken);
  visit(7, value.routes);
  visit(8, value.members);
}

template <typename Visit, Is<storage::FeedTaken> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.partition);
  visit(2, value.feed);
  visit(3, value.number);
}

template <typename Visit, Is<storage::ScanWanted> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.ticket);
  visit(2, value.scan);
}

template <typename Visit, Is<storage::ScanDone> Value>
void Fields(Visit& visit, Value& value) {
  visit(1, value.ticket);
  visit(2, value.page);
}

}  // namespace cluster::traffic

#endif  // CLUSTER_CORE_TRAFFIC_FIELDS_H_
