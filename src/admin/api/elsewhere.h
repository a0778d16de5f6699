// What a node answers that was asked about something of another node's: its status says whom to
// ask.
#ifndef ADMIN_API_ELSEWHERE_H_
#define ADMIN_API_ELSEWHERE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/node_call.h"
#include "storage/core/addresses.h"

namespace admin {

// A client of another node: that one can do something about it.
absl::Status ConnectedElsewhere(const std::string& client_id, const storage::ConnectionRef& ref);
// At which connection; nothing, if the status says no such thing.
std::optional<base::NodeConnection> ElsewhereOf(const absl::Status& status);

// Another node leads the partition, or is about to: it knows who is connected.
absl::Status NotLedHere();
bool IsNotLedHere(const absl::Status& status);

base::NodeConnection ToNodeConnection(const storage::ConnectionRef& ref);
storage::ConnectionRef ToConnectionRef(const base::NodeConnection& connection);

}  // namespace admin

#endif  // ADMIN_API_ELSEWHERE_H_
