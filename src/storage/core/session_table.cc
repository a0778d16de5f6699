#include "storage/core/session_table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "storage/core/keys.h"

namespace storage {

Session* SessionTable::Find(std::string_view client_id) const {
  const auto found = by_client_id_.find(client_id);
  return found == by_client_id_.end() ? nullptr : found->second;
}

Session* SessionTable::FindSlot(SessionSlot slot) const {
  return slot < slots_.size() ? slots_[slot].get() : nullptr;
}

Session& SessionTable::At(SessionSlot slot) const {
  Session* const session = FindSlot(slot);
  CHECK(session != nullptr) << "no session in slot " << slot;
  return *session;
}

void SessionTable::ForEach(absl::FunctionRef<void(Session&)> visit) const {
  for (const std::unique_ptr<Session>& session : slots_) {
    if (session != nullptr) visit(*session);
  }
}

std::vector<Session*> SessionTable::InOrder(absl::FunctionRef<bool(const Session&)> wanted) const {
  std::vector<Session*> found;
  ForEach([&](Session& session) {
    if (wanted(session)) found.push_back(&session);
  });
  std::sort(found.begin(), found.end(),
            [](const Session* a, const Session* b) { return a->client_id < b->client_id; });
  return found;
}

Session& SessionTable::Add(std::string client_id) {
  auto made = std::make_unique<Session>();
  made->client_id = std::move(client_id);
  made->slot = TakeSlot(made->client_id);
  Session& session = *made;
  by_client_id_.emplace(session.client_id, &session);
  slots_[session.slot] = std::move(made);
  return session;
}

void SessionTable::Remove(Session& session) {
  if (session.changes.touched != Session::kNone) touched_[session.changes.touched] = nullptr;
  by_client_id_.erase(session.client_id);
  free_slots_.push_back(session.slot);
  slots_[session.slot].reset();
}

SessionSlot SessionTable::TakeSlot(std::string_view client_id) {
  if (slots_of_ != nullptr) {
    // One that will have ended takes a slot that nobody has there.
    const Session* const before = slots_of_->Find(client_id);
    const size_t slot =
        before != nullptr ? before->slot : std::max(slots_.size(), slots_of_->slots_.size());
    if (slots_.size() <= slot) slots_.resize(slot + 1);
    return static_cast<SessionSlot>(slot);
  }
  if (free_slots_.empty()) {
    slots_.emplace_back();
    return static_cast<SessionSlot>(slots_.size() - 1);
  }
  const SessionSlot slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void SessionTable::KeepSlotsOf(const SessionTable& before) {
  CHECK(slots_.empty()) << "loaded already";
  slots_of_ = &before;
}

void SessionTable::StopKeepingSlots() {
  slots_of_ = nullptr;
  free_slots_.clear();
  for (size_t slot = slots_.size(); slot-- > 0;) {
    if (slots_[slot] == nullptr) free_slots_.push_back(static_cast<SessionSlot>(slot));
  }
}

void SessionTable::Touch(Session& session, bool Session::Changes::*what) {
  session.changes.*what = true;
  if (session.changes.touched != Session::kNone) return;
  session.changes.touched = static_cast<uint32_t>(touched_.size());
  touched_.push_back(&session);
}

std::vector<Session*> SessionTable::TakeTouched() {
  std::vector<std::pair<uint64_t, Session*>> by_key;
  by_key.reserve(touched_.size());
  for (Session* const session : touched_) {
    if (session != nullptr) by_key.emplace_back(StableHash(session->client_id), session);
  }
  touched_.clear();
  std::sort(by_key.begin(), by_key.end());
  std::vector<Session*> touched;
  touched.reserve(by_key.size());
  for (const auto& [hash, session] : by_key) touched.push_back(session);
  return touched;
}

}  // namespace storage
