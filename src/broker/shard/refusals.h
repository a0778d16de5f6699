// Lines in the log about clients that were turned away: who, where, and why.
#ifndef BROKER_REFUSALS_H_
#define BROKER_REFUSALS_H_

#include <string_view>

#include "broker/shard/connection.h"
#include "broker/shard/shard_metrics.h"

namespace broker {

// At info, limited by base::LogLimited. `event` and `reason` are fixed phrases in an operator's
// words; `what` is the rule, bound or topic concerned, under the name `what_key`, or empty.
// `client_id` is of a CONNECT that the connection does not have yet.
void LogRefused(const Connection& connection, std::string_view event, std::string_view reason,
                std::string_view what_key = {}, std::string_view what = {},
                std::string_view client_id = {});

// At debug, each of them.
void LogDropped(const Session& session, std::string_view topic, DropCause cause);

// Why the server ended a connection, for people. Empty: it did not; the client went.
std::string_view WordsFor(CloseCause cause);

}  // namespace broker
#endif  // BROKER_REFUSALS_H_
