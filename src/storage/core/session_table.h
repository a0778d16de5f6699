// The sessions of one partition, by Client Identifier and by slot, and which of them have changed.
#ifndef STORAGE_CORE_SESSION_TABLE_H_
#define STORAGE_CORE_SESSION_TABLE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "storage/core/effects.h"
#include "storage/core/session.h"

namespace storage {

// A part of the partition's state machine, and on its thread. Sessions keep their addresses while
// they exist.
class SessionTable {
 public:
  Session* Find(std::string_view client_id) const;  // Null: there is none.
  Session* FindSlot(SessionSlot slot) const;        // Null: it is free.
  Session& At(SessionSlot slot) const;              // The slot is in use.
  size_t size() const { return by_client_id_.size(); }
  SessionSlot slots() const { return static_cast<SessionSlot>(slots_.size()); }
  // By slot, which replicas need not agree about.
  void ForEach(absl::FunctionRef<void(Session&)> visit) const;
  // Those for which `wanted` is true, in the order of Client Identifiers, which is everywhere the
  // same.
  std::vector<Session*> InOrder(absl::FunctionRef<bool(const Session&)> wanted) const;

  // Nobody has the identifier.
  Session& Add(std::string client_id);
  void Remove(Session& session);

  // For a table that is made again: each session gets the slot that it has in `before`, which must
  // stay until StopKeepingSlots, when the two have the same sessions. While it is empty.
  void KeepSlotsOf(const SessionTable& before);
  void StopKeepingSlots();

  // That is not as the store has it.
  void Touch(Session& session, bool Session::Changes::*what);
  // All that were touched, in the order of keys, which an ordered store takes several times as
  // fast. Their `changes` are the caller's to write and to clear.
  std::vector<Session*> TakeTouched();

 private:
  SessionSlot TakeSlot(std::string_view client_id);

  std::vector<std::unique_ptr<Session>> slots_;  // Null: free.
  std::vector<SessionSlot> free_slots_;
  const SessionTable* slots_of_ = nullptr;                        // See KeepSlotsOf.
  absl::flat_hash_map<std::string_view, Session*> by_client_id_;  // Keys are views of client_id.
  std::vector<Session*> touched_;                                 // Null: it has ended.
};

}  // namespace storage

#endif  // STORAGE_CORE_SESSION_TABLE_H_
