#include "storage/core/time_record.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/by_name.h"

namespace storage {
namespace {

// 2025-01-01: earlier than any release, so a clock that shows less is not set.
constexpr int64_t kEarliestWallMs = 1'735'689'600'000;
// Less than this is how the clocks are read, not how they are set.
constexpr int64_t kSetMs = 1'000;

bool IsSet(const ClockReading& clocks) { return clocks.wall_ms >= kEarliestWallMs; }

int64_t Passed(const ClockReading& last, const ClockReading& now) {
  const bool same_boot = !now.boot_id.empty() && now.boot_id == last.boot_id;
  // A machine that was put back to a snapshot shows the same start, and less time.
  if (same_boot && now.boot_ms >= last.boot_ms) return now.boot_ms - last.boot_ms;
  if (!IsSet(last) || !IsSet(now)) return same_boot ? 0 : now.boot_ms;
  return std::max<int64_t>(now.wall_ms - last.wall_ms, 0);
}

}  // namespace

std::string EncodeTimeRecord(const TimeRecord& record) {
  return absl::StrCat("boot_id: ", record.clocks.boot_id, "\nboot_ms: ", record.clocks.boot_ms,
                      "\nwall_ms: ", record.clocks.wall_ms, "\ntime_ms: ", record.unix_ms, "\n");
}

std::optional<TimeRecord> ParseTimeRecord(std::string_view text) {
  std::map<std::string, std::string> values;
  for (const absl::string_view line :
       absl::StrSplit(base::AbslView(text), '\n', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    values.insert(pair);
  }
  TimeRecord record;
  record.clocks.boot_id = values["boot_id"];
  const bool whole = absl::SimpleAtoi(values["boot_ms"], &record.clocks.boot_ms) &&
                     absl::SimpleAtoi(values["wall_ms"], &record.clocks.wall_ms) &&
                     absl::SimpleAtoi(values["time_ms"], &record.unix_ms);
  if (!whole) return std::nullopt;
  return record;
}

int64_t TimeAtStart(const std::optional<TimeRecord>& last, const ClockReading& now,
                    int64_t last_stamp_ms) {
  if (!last.has_value()) return std::max(last_stamp_ms, now.wall_ms);
  return std::max(last_stamp_ms, last->unix_ms + Passed(last->clocks, now));
}

bool WallClockWasSet(const TimeRecord& last, const TimeRecord& now) {
  const int64_t before = last.clocks.wall_ms - last.unix_ms;
  return std::abs(now.clocks.wall_ms - now.unix_ms - before) >= kSetMs;
}

}  // namespace storage
