#include "storage/leader/log_ledger.h"

#include <vector>

#include "gtest/gtest.h"

namespace storage {
namespace {

constexpr PartitionId kId = 1;
constexpr size_t kBytes = LogLedger::kWaitingBytesMax / 4;

// What it has said, and one that is not known to be committed.
class Log {
 public:
  Committed Append(uint64_t proposal) {
    entries_.push_back({.partition = kId,
                        .index = entries_.size() + 1,
                        .term = 1,
                        .proposal = proposal,
                        .entry = std::string(kBytes, 'x')});
    return entries_.back();
  }
  Replica::LogReader Reader() {
    return [this](PartitionId, uint64_t after, const auto& visit) -> absl::Status {
      for (size_t i = after; i < entries_.size(); ++i) {
        const Committed& entry = entries_[i];
        const absl::Status visited = visit(
            {.partition = kId, .index = entry.index, .term = entry.term, .data = entry.entry});
        if (!visited.ok()) return visited;
      }
      return error;
    };
  }
  absl::Status error;

 private:
  std::vector<Committed> entries_;
};

TEST(LogLedger, WhatWaitsIsBoundedAndTheRestIsReadFromTheLog) {
  LogLedger ledger(2);
  Log log;
  constexpr uint64_t kEntries = 23;
  for (uint64_t i = 1; i <= kEntries; ++i) {
    ledger.Hear(log.Append(i == 17 ? 170 : 0), /*kept=*/true);
    EXPECT_LE(ledger.waiting_bytes(kId), LogLedger::kWaitingBytesMax + 2 * kBytes);
  }
  log.Append(0);
  for (uint64_t i = 1; i <= kEntries; ++i) {
    EXPECT_TRUE(ledger.has_next(kId));
    if (ledger.Next(kId) == nullptr) {
      EXPECT_TRUE(ledger.ReadOn(kId, log.Reader()).ok());
    }
    EXPECT_LE(ledger.waiting_bytes(kId), LogLedger::kWaitingBytesMax + 2 * kBytes);
    ASSERT_NE(ledger.Next(kId), nullptr);
    EXPECT_EQ(ledger.Next(kId)->index, i);
    EXPECT_EQ(ledger.Next(kId)->proposal, i == 17 ? 170u : 0u);
    EXPECT_EQ(ledger.Next(kId)->entry.size(), kBytes);
    ledger.PopNext(kId);
  }
  EXPECT_FALSE(ledger.has_next(kId));
  EXPECT_EQ(ledger.waiting_bytes(kId), 0u);
}

TEST(LogLedger, ALogThatCannotBeReadSaysSo) {
  LogLedger ledger(2);
  Log log;
  for (int i = 0; i < 10; ++i) ledger.Hear(log.Append(0), /*kept=*/true);
  while (ledger.Next(kId) != nullptr) ledger.PopNext(kId);
  EXPECT_FALSE(ledger.all_wait(kId));
  Log other;
  other.error = absl::UnavailableError("the log waits for its repair");
  EXPECT_TRUE(absl::IsUnavailable(ledger.ReadOn(kId, other.Reader())));
  other.error = absl::OkStatus();
  EXPECT_TRUE(absl::IsDataLoss(ledger.ReadOn(kId, other.Reader())));
  EXPECT_TRUE(ledger.ReadOn(kId, log.Reader()).ok());
}

}  // namespace
}  // namespace storage
