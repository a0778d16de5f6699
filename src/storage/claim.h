// Who owns a Client Identifier.
#ifndef STORAGE_CLAIM_H_
#define STORAGE_CLAIM_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "storage/core/effects.h"
#include "storage/core/partition_api.h"
#include "storage/delivery_window.h"

namespace storage {

// One for each Client Identifier that is connected, or whose record is just being changed: what the
// log is told about one identifier goes one step at a time, so a decision always sees the outcome
// of the one before.
struct Claim {
  enum class State : uint8_t {
    kOpening,  // OpenSession is being committed.
    kOpen,     // SessionOpened was answered.
    kBusy,     // Nobody owns it: a close, an expiry or a will is being committed.
  };

  State state = State::kOpening;
  std::string client_id;
  ConnectionRef connection;
  Token token = 0;
  uint64_t epoch = 0;
  PartitionId partition = 0;

  bool stored = false;     // The partition has a record of it.
  bool abandoned = false;  // kOpening: somebody else wants it, SessionOpened is not due any more.
  std::optional<CloseSession> closed_early;  // kOpening: its connection went.
  std::optional<OpenSession> waiting;        // The newest that wants it, once the owner let go.

  // What `opening` asked for, as far as it is needed later.
  uint32_t expiry_s = 0;
  uint32_t window_messages = 0;
  uint64_t window_bytes = 0;

  // kOpen and stored.
  SessionSlot slot = kNoSlot;
  DeliveryWindow window;
  bool behind = false;        // The queue has messages at or after window.next().
  bool in_pump = false;       // Listed for the pump.
  bool replaying = false;     // A page of retained messages is being committed.
  uint32_t replays_held = 0;  // Until so many subscriptions are known everywhere.
  // How far a replay has been read beyond what its record says, without finding anything.
  uint64_t scanned_replay = 0;
  std::string scanned_to;

  // Where this round's Deliver stands in the outbox.
  uint64_t deliver_round = 0;
  size_t deliver_index = 0;
};

}  // namespace storage

#endif  // STORAGE_CLAIM_H_
