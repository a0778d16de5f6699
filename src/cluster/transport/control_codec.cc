#include "cluster/transport/control_codec.h"

#include <limits>
#include <utility>

#include "mqttd/cluster/v1/control.pb.h"
#include "storage/core/wire.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;
namespace wire = storage::wire;

template <typename Message>
std::string WithKind(int kind, const Message& message) {
  std::string bytes(1, static_cast<char>(kind));
  message.AppendToString(&bytes);
  return bytes;
}

std::string Encode(const RaftItem& item) {
  std::string bytes(1, static_cast<char>(pb::ControlItem::kRaft));
  wire::Append(bytes,
               wire::NumberSize(item.group) + wire::NumberSize(item.to) +
                   wire::BytesSize(item.data) + wire::NumberSize(item.all_have),
               [&](wire::Writer& writer) {
                 writer.Number(1, item.group);
                 writer.Number(2, item.to);
                 writer.Bytes(3, item.data);
                 writer.Number(4, item.all_have);
               });
  return bytes;
}

std::string Encode(const LeaseRequest& request) {
  pb::LeaseRequest message;
  message.set_node(request.life.node.value());
  message.set_incarnation(request.life.incarnation.value());
  message.set_number(request.number);
  message.set_ends(request.ends);
  message.set_time_ms(request.time.unix_ms);
  message.set_time_agreed(request.time.agreed);
  return WithKind(pb::ControlItem::kLeaseRequest, message);
}

std::string Encode(const LeaseAnswer& answer) {
  pb::LeaseAnswer message;
  message.set_node(answer.life.node.value());
  message.set_incarnation(answer.life.incarnation.value());
  message.set_number(answer.number);
  switch (answer.kind) {
    case LeaseAnswer::Kind::kGranted:
      message.set_kind(pb::LeaseAnswer::KIND_GRANTED);
      break;
    case LeaseAnswer::Kind::kGone:
      message.set_kind(pb::LeaseAnswer::KIND_GONE);
      break;
    case LeaseAnswer::Kind::kNotLeader:
      message.set_kind(pb::LeaseAnswer::KIND_NOT_LEADER);
      break;
  }
  message.set_time_ms(answer.time.unix_ms);
  message.set_time_agreed(answer.time.agreed);
  return WithKind(pb::ControlItem::kLeaseAnswer, message);
}

std::string Encode(const MembersWanted& wanted) {
  pb::MembersWanted message;
  message.set_index(wanted.index);
  return WithKind(pb::ControlItem::kMembersWanted, message);
}

std::string Encode(const MembersTold& told) {
  pb::MembersTold message;
  message.set_index(told.index);
  message.set_members(told.members);
  return WithKind(pb::ControlItem::kMembersTold, message);
}

std::string Encode(const ForgetAsked& asked) {
  pb::ForgetAsked message;
  message.set_token(asked.token);
  message.set_node(asked.node.value());
  return WithKind(pb::ControlItem::kForgetAsked, message);
}

std::string Encode(const ForgetAnswered& answered) {
  pb::ForgetAnswered message;
  message.set_token(answered.token);
  message.set_code(static_cast<uint32_t>(answered.status.code()));
  message.set_why(std::string(answered.status.message()));
  return WithKind(pb::ControlItem::kForgetAnswered, message);
}

absl::Status Damaged() { return absl::InvalidArgumentError("an item of a node cannot be read"); }

absl::StatusOr<ControlItem> ParseRaft(std::string_view bytes) {
  RaftItem item;
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  while (at != end) {
    uint64_t tag = 0;
    uint64_t value = 0;
    if (!wire::TakeVarint(at, end, tag) || !wire::TakeVarint(at, end, value)) return Damaged();
    if ((tag & 7) == 2) {
      if (value > static_cast<uint64_t>(end - at)) return Damaged();
      if (tag >> 3 == 3) item.data = std::string_view(at, value);
      at += value;
    } else if ((tag & 7) != 0) {
      return Damaged();
    } else if (tag >> 3 == 1) {
      if (value > std::numeric_limits<GroupId>::max()) return Damaged();
      item.group = static_cast<GroupId>(value);
    } else if (tag >> 3 == 2) {
      item.to = value;
    } else if (tag >> 3 == 4) {
      item.all_have = value;
    }
  }
  return item;
}

NodeLife LifeOf(uint32_t node, uint32_t incarnation) {
  return {NodeId(static_cast<uint16_t>(node)), Incarnation(incarnation)};
}

absl::StatusOr<ControlItem> ParseLeaseRequest(std::string_view bytes) {
  pb::LeaseRequest message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Damaged();
  return LeaseRequest{LifeOf(message.node(), message.incarnation()),
                      message.number(),
                      message.ends(),
                      {message.time_ms(), message.time_agreed()}};
}

absl::StatusOr<ControlItem> ParseLeaseAnswer(std::string_view bytes) {
  pb::LeaseAnswer message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Damaged();
  LeaseAnswer answer{LifeOf(message.node(), message.incarnation()),
                     message.number(),
                     LeaseAnswer::Kind::kGranted,
                     {message.time_ms(), message.time_agreed()}};
  switch (message.kind()) {
    case pb::LeaseAnswer::KIND_GRANTED:
      answer.kind = LeaseAnswer::Kind::kGranted;
      return answer;
    case pb::LeaseAnswer::KIND_GONE:
      answer.kind = LeaseAnswer::Kind::kGone;
      return answer;
    case pb::LeaseAnswer::KIND_NOT_LEADER:
      answer.kind = LeaseAnswer::Kind::kNotLeader;
      return answer;
    default:
      return Damaged();
  }
}

template <typename Message>
bool Parse(std::string_view bytes, Message& message) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

absl::StatusOr<ControlItem> ParseMembersWanted(std::string_view bytes) {
  pb::MembersWanted message;
  if (!Parse(bytes, message)) return Damaged();
  return MembersWanted{message.index()};
}

absl::StatusOr<ControlItem> ParseMembersTold(std::string_view bytes) {
  pb::MembersTold message;
  if (!Parse(bytes, message)) return Damaged();
  return MembersTold{message.index(), message.members()};
}

absl::StatusOr<ControlItem> ParseForgetAsked(std::string_view bytes) {
  pb::ForgetAsked message;
  if (!Parse(bytes, message) || message.node() > std::numeric_limits<uint16_t>::max())
    return Damaged();
  return ForgetAsked{message.token(), NodeId(static_cast<uint16_t>(message.node()))};
}

absl::StatusOr<ControlItem> ParseForgetAnswered(std::string_view bytes) {
  pb::ForgetAnswered message;
  if (!Parse(bytes, message)) return Damaged();
  // A code of a later release is not well either.
  const bool known = message.code() <= static_cast<uint32_t>(absl::StatusCode::kUnauthenticated);
  const auto code =
      known ? static_cast<absl::StatusCode>(message.code()) : absl::StatusCode::kUnknown;
  return ForgetAnswered{message.token(), absl::Status(code, message.why())};
}

}  // namespace

std::string EncodeControl(const ControlItem& item) {
  return std::visit([](const auto& value) { return Encode(value); }, item);
}

absl::StatusOr<ControlItem> ParseControl(std::string_view bytes) {
  if (bytes.empty()) return Damaged();
  const std::string_view message = bytes.substr(1);
  switch (static_cast<uint8_t>(bytes[0])) {
    case pb::ControlItem::kRaft:
      return ParseRaft(message);
    case pb::ControlItem::kLeaseRequest:
      return ParseLeaseRequest(message);
    case pb::ControlItem::kLeaseAnswer:
      return ParseLeaseAnswer(message);
    case pb::ControlItem::kMembersWanted:
      return ParseMembersWanted(message);
    case pb::ControlItem::kMembersTold:
      return ParseMembersTold(message);
    case pb::ControlItem::kForgetAsked:
      return ParseForgetAsked(message);
    case pb::ControlItem::kForgetAnswered:
      return ParseForgetAnswered(message);
    default:
      return Damaged();
  }
}

}  // namespace cluster
