#include "storage/core/outbox_ledger.h"

#include <iterator>

#include "storage/core/keys.h"

namespace storage {

OutboxLedger::Order OutboxLedger::OrderOf(const mqtt::Message& message) {
  return StableHash(message.publisher()) | uint64_t{1} << 63;
}

uint64_t OutboxLedger::Asked::LastBelow(uint64_t number, Order order) const {
  const auto behind = by_order_.lower_bound({order, number});
  if (behind == by_order_.begin()) return 0;
  const auto last = std::prev(behind);
  return last->first == order ? last->second : 0;
}

void OutboxLedger::Asked::Insert(uint64_t number, Order order) {
  Erase(number);
  orders_.emplace(number, order);
  by_order_.insert({order, number});
}

void OutboxLedger::Asked::Erase(uint64_t number) {
  const auto found = orders_.find(number);
  if (found == orders_.end()) return;
  by_order_.erase({found->second, number});
  orders_.erase(found);
}

void OutboxLedger::Asked::EraseBelow(uint64_t number) {
  while (!orders_.empty() && orders_.begin()->first < number) Erase(orders_.begin()->first);
}

bool OutboxLedger::Begin(const OutboxRef& record, Order order) {
  Outbox& outbox = Of(record.partition);
  if (outbox.kept_from < record.kept_from) {
    outbox.kept_from = record.kept_from;
    outbox.begun.EraseBelow(record.kept_from);
    const auto is_gone = [&](const auto& one) { return one.second < record.kept_from; };
    absl::erase_if(outbox.given_back, is_gone);
    absl::erase_if(outbox.again, is_gone);
  }
  if (!outbox.begun.insert(record.number)) return false;
  if (outbox.given_back.erase({order, record.number}) == 0) return true;
  if (order != 0) outbox.again.insert({order, record.number});
  for (Asked& asked : outbox.asked) asked.Erase(record.number);  // It may be for others now.
  return true;
}

bool OutboxLedger::AnyBefore(const Numbers& numbers, const OutboxRef& record, Order order) {
  if (order == 0 || numbers.empty()) return false;
  const auto first = numbers.lower_bound({order, record.kept_from});
  return first != numbers.end() && first->first == order && first->second < record.number;
}

bool OutboxLedger::MustWait(const OutboxRef& record, Order order) const {
  const Outbox* const outbox = Find(record.partition);
  return outbox != nullptr && AnyBefore(outbox->given_back, record, order);
}

bool OutboxLedger::IsOvertaking(const OutboxRef& record, Order order) const {
  const Outbox* const outbox = Find(record.partition);
  return outbox != nullptr &&
         (AnyBefore(outbox->given_back, record, order) || AnyBefore(outbox->again, record, order));
}

uint64_t OutboxLedger::AskOf(PartitionId target, const OutboxRef& record, Order order) {
  std::vector<Asked>& asked = Of(record.partition).asked;
  if (asked.size() <= target) asked.resize(target + size_t{1});
  asked[target].EraseBelow(record.kept_from);
  const uint64_t before = asked[target].LastBelow(record.number, order);
  asked[target].Insert(record.number, order);
  return before;
}

void OutboxLedger::Has(PartitionId target, const OutboxRef& record) {
  std::vector<Asked>& asked = Of(record.partition).asked;
  if (target < asked.size()) asked[target].Erase(record.number);
}

void OutboxLedger::PassedOn(const OutboxRef& record, Order order) {
  Numbers& again = Of(record.partition).again;
  if (!again.empty()) again.erase({order, record.number});
}

bool OutboxLedger::HandOut(const OutboxRef& record) {
  Outbox& outbox = Of(record.partition);
  if (outbox.handed_out_from < record.kept_from) {
    outbox.handed_out_from = record.kept_from;
    outbox.handed_out.EraseBelow(record.kept_from);
  }
  return record.number >= outbox.handed_out_from && outbox.handed_out.insert(record.number);
}

void OutboxLedger::GiveBack(const OutboxRef& record, Order order) {
  Outbox& outbox = Of(record.partition);
  outbox.begun.erase(record.number);
  outbox.again.erase({order, record.number});
  outbox.given_back.insert({order, record.number});
}

}  // namespace storage
