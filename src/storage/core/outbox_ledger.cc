#include "storage/core/outbox_ledger.h"

namespace storage {

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
  for (RangeSet& asked : outbox.asked) asked.erase(record.number);  // It may be for others now.
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

uint64_t OutboxLedger::AskOf(PartitionId target, const OutboxRef& record) {
  std::vector<RangeSet>& asked = Of(record.partition).asked;
  if (asked.size() <= target) asked.resize(target + size_t{1});
  asked[target].EraseBelow(record.kept_from);
  const uint64_t before = asked[target].LastBelow(record.number);
  asked[target].insert(record.number);
  return before;
}

void OutboxLedger::Has(PartitionId target, const OutboxRef& record) {
  std::vector<RangeSet>& asked = Of(record.partition).asked;
  if (target < asked.size()) asked[target].erase(record.number);
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
