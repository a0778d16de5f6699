#include "admin/api/elsewhere.h"

#include <cstdint>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace admin {
namespace {

constexpr char kElsewhere[] = "mqttd/connection";
constexpr char kNotLed[] = "mqttd/not-led";

}  // namespace

absl::Status ConnectedElsewhere(const std::string& client_id, const storage::ConnectionRef& ref) {
  absl::Status status = absl::FailedPreconditionError(
      absl::StrCat("client \"", client_id, "\" is connected at node ", ref.node.value()));
  status.SetPayload(kElsewhere,
                    absl::Cord(absl::StrCat(ref.node.value(), " ", ref.incarnation.value(), " ",
                                            ref.shard, " ", ref.connection)));
  return status;
}

std::optional<base::NodeConnection> ElsewhereOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kElsewhere);
  if (!payload.has_value()) return std::nullopt;
  const std::string text(*payload);
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ' ');
  base::NodeConnection connection;
  const bool whole = parts.size() == 4 && absl::SimpleAtoi(parts[0], &connection.node) &&
                     absl::SimpleAtoi(parts[1], &connection.incarnation) &&
                     absl::SimpleAtoi(parts[2], &connection.shard) &&
                     absl::SimpleAtoi(parts[3], &connection.connection);
  return whole ? std::optional(connection) : std::nullopt;
}

absl::Status NotLedHere() {
  absl::Status status = absl::UnavailableError(
      "the session's partition is just getting another leader: try again in a moment");
  status.SetPayload(kNotLed, absl::Cord());
  return status;
}

bool IsNotLedHere(const absl::Status& status) { return status.GetPayload(kNotLed).has_value(); }

base::NodeConnection ToNodeConnection(const storage::ConnectionRef& ref) {
  return {.node = ref.node.value(),
          .incarnation = ref.incarnation.value(),
          .shard = ref.shard,
          .connection = ref.connection};
}

storage::ConnectionRef ToConnectionRef(const base::NodeConnection& connection) {
  return {.node = storage::NodeId(static_cast<uint16_t>(connection.node)),
          .shard = static_cast<storage::ShardId>(connection.shard),
          .incarnation = storage::Incarnation(connection.incarnation),
          .connection = connection.connection};
}

}  // namespace admin
