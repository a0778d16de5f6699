#include "broker/shard/shard_metrics.h"

#include "absl/hash/hash.h"

namespace broker {

void ViolationCounts::Add(std::string_view rule) {
  // Hashed by content: the same rule may stand at several addresses.
  size_t at = absl::HashOf(rule) % kSlots;
  for (size_t probes = 0; probes < kSlots; ++probes, at = (at + 1) % kSlots) {
    Slot& slot = slots_[at];
    const char* const text = slot.text.load(std::memory_order_relaxed);
    if (text == nullptr) {
      slot.size = rule.size();
      slot.count.Add();
      slot.text.store(rule.data(), std::memory_order_release);
      return;
    }
    if (std::string_view(text, slot.size) == rule) {
      slot.count.Add();
      return;
    }
  }
  other_.Add();
}

std::string_view Name(DropCause cause) {
  switch (cause) {
    case DropCause::kOutputFull:
      return "output_full";
    case DropCause::kQueueFull:
      return "queue_full";
    case DropCause::kExpired:
      return "expired";
    case DropCause::kPacketTooLarge:
      return "packet_too_large";
    case DropCause::kNotAuthorized:
      return "not_authorized";
    case DropCause::kSessionEnded:
      return "session_ended";
    case DropCause::kNoShareMember:
      return "no_share_member";
    case DropCause::kStorageFailed:
      return "storage_failed";
    case DropCause::kHook:
      return "hook";
    case DropCause::kCount_:
      break;
  }
  return "unknown";
}

std::string_view Name(CloseCause cause) {
  switch (cause) {
    case CloseCause::kDisconnect:
      return "disconnect";
    case CloseCause::kPeerClosed:
      return "peer_closed";
    case CloseCause::kTransportError:
      return "transport_error";
    case CloseCause::kConnectTimeout:
      return "connect_timeout";
    case CloseCause::kConnectRefused:
      return "connect_refused";
    case CloseCause::kKeepAliveTimeout:
      return "keep_alive_timeout";
    case CloseCause::kPacketTimeout:
      return "packet_timeout";
    case CloseCause::kTakenOver:
      return "taken_over";
    case CloseCause::kViolation:
      return "violation";
    case CloseCause::kOutputFull:
      return "output_full";
    case CloseCause::kOverloaded:
      return "overloaded";
    case CloseCause::kMemory:
      return "memory";
    case CloseCause::kShutdown:
      return "shutdown";
    case CloseCause::kAdministrative:
      return "administrative";
    case CloseCause::kStorageFailed:
      return "storage_failed";
    case CloseCause::kHook:
      return "hook";
    case CloseCause::kNoQuorum:
      return "no_quorum";
    case CloseCause::kAside:
      return "aside";
    case CloseCause::kCount_:
      break;
  }
  return "unknown";
}

std::string_view Name(SubscribeRefusal cause) {
  switch (cause) {
    case SubscribeRefusal::kSubscriptionsMax:
      return "subscriptions_max";
    case SubscribeRefusal::kSubscriptionsBytesMax:
      return "subscriptions_bytes_max";
    case SubscribeRefusal::kSharedSubscriptionsMax:
      return "shared_subscriptions_max";
    case SubscribeRefusal::kShareGroupsMax:
      return "share_groups_max";
    case SubscribeRefusal::kAllSubscriptionsBytes:
      return "broker_subscriptions_bytes_max";
    case SubscribeRefusal::kMemory:
      return "memory";
    case SubscribeRefusal::kCount_:
      break;
  }
  return "";
}

std::string_view Name(RefuseCause cause) {
  switch (cause) {
    case RefuseCause::kConnectionsMax:
      return "connections_max";
    case RefuseCause::kMemory:
      return "memory";
    case RefuseCause::kUserConnections:
      return "user_connections_max";
    case RefuseCause::kOtherUser:
      return "other_user";
    case RefuseCause::kSessionsMax:
      return "sessions_max";
    case RefuseCause::kUserSessionsMax:
      return "user_sessions_max";
    case RefuseCause::kIdentifierFight:
      return "identifier_fight";
    case RefuseCause::kStorage:
      return "storage";
    case RefuseCause::kConnectSize:
      return "connect_packet_size_max";
    case RefuseCause::kDraining:
      return "draining";
    case RefuseCause::kBanned:
      return "banned";
    case RefuseCause::kNoQuorum:
      return "no_quorum";
    case RefuseCause::kAside:
      return "aside";
    case RefuseCause::kUndecided:
      return "connect_timeout";
    case RefuseCause::kCount_:
      break;
  }
  return "unknown";
}

std::string_view Name(ThrottleCause cause) {
  switch (cause) {
    case ThrottleCause::kRate:
      return "rate";
    case ThrottleCause::kMemory:
      return "memory";
    case ThrottleCause::kCount_:
      break;
  }
  return "unknown";
}

}  // namespace broker
