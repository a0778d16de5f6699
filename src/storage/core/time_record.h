// How the time of records (base::Timeline) goes on from one start of the broker to the next.
#ifndef STORAGE_CORE_TIME_RECORD_H_
#define STORAGE_CORE_TIME_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace storage {

// What the machine's clocks show.
struct ClockReading {
  std::string boot_id;  // Which start of the machine this is; empty: not known.
  int64_t boot_ms = 0;  // Since then, what it slept included.
  int64_t wall_ms = 0;  // Since the Unix epoch, if it is set right.
};

// DATA_DIR/time: what the clocks showed when it was so late.
struct TimeRecord {
  ClockReading clocks;
  int64_t unix_ms = 0;
};

std::string EncodeTimeRecord(const TimeRecord& record);
std::optional<TimeRecord> ParseTimeRecord(std::string_view text);

// How late it is when the broker starts.
//
// As long as the machine was not restarted its own clock says how much time has passed, whatever
// became of the wall clock meanwhile. Else the wall clock must say: what it shows now less what it
// showed then, if it was set both times and did not go back. A wall clock that has never been set
// (no battery, no network yet) says nothing: then only the time since the machine started is known
// to have passed. In doubt an interval ends late, not early.
//
// `last_stamp_ms` is the latest time that anything in the store bears: it is never earlier. Without
// a record (a new directory, or one of an earlier release) the time begins as the wall clock's.
int64_t TimeAtStart(const std::optional<TimeRecord>& last, const ClockReading& now,
                    int64_t last_stamp_ms);

// Whether the wall clock was set since the record was made: then a new one is due.
bool WallClockWasSet(const TimeRecord& last, const TimeRecord& now);

}  // namespace storage

#endif  // STORAGE_CORE_TIME_RECORD_H_
