// How the sessions of a partition stand in the store: a record, a cursor, and a record for each
// subscription and each replay that waits. (Queues: chunk.h.)
#ifndef STORAGE_CORE_SESSION_RECORDS_H_
#define STORAGE_CORE_SESSION_RECORDS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "storage/core/kv.h"
#include "storage/core/partition_api.h"
#include "storage/core/session.h"
#include "storage/core/session_table.h"
#include "storage/core/subscription_index.h"

namespace storage {

// Reads them all into the table, which is empty, and their plain subscriptions into the index; adds
// up what memory subscriptions take. A session whose replays an earlier release wrote into its
// record is touched: they get their own. Errors: the store's, or kDataLoss.
absl::Status LoadSessions(const StateReader& reader, PartitionId partition, SessionTable& sessions,
                          SubscriptionIndex& index, uint64_t& subscriptions_bytes);

// The session's own record.
void WriteSession(PartitionId partition, const Session& session, StateBatch& batch);
// Those of its replays that are not as the store has them.
void WriteReplays(PartitionId partition, Session& session, StateBatch& batch);

}  // namespace storage

#endif  // STORAGE_CORE_SESSION_RECORDS_H_
