// Structured logs: an event by name, then keys and values, as text or as JSON, one line each.
#ifndef BASE_LOG_H_
#define BASE_LOG_H_

#include <cmath>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace base {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };
enum class LogFormat { kText, kJson };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  std::string file;  // Empty: stderr. Reopened by a further ConfigureLog (log rotation).
};

// One key and its value. Numbers and booleans stay such in JSON; strings are quoted as needed and
// may hold any bytes. A view: lives as long as the call.
class LogField {
 public:
  LogField(absl::string_view key, absl::string_view value)
      : key_(key), text_(value), quoted_(true) {}
  LogField(absl::string_view key, const char* value) : LogField(key, absl::string_view(value)) {}
  LogField(absl::string_view key, const std::string& value)
      : LogField(key, absl::string_view(value)) {}
  LogField(absl::string_view key, const absl::Status& value)
      : key_(key), own_(InWords(value)), text_(own_), quoted_(true) {}
  LogField(absl::string_view key, absl::Duration value)
      : key_(key), own_(absl::FormatDuration(value)), text_(own_), quoted_(true) {}
  LogField(absl::string_view key, bool value)
      : key_(key), text_(value ? "true" : "false"), quoted_(false) {}
  template <std::integral Number>
  LogField(absl::string_view key, Number value)
      : key_(key), own_(std::to_string(value)), text_(own_), quoted_(false) {}
  LogField(absl::string_view key, double value)  // JSON has no word for what is not finite.
      : key_(key), own_(absl::StrCat(value)), text_(own_), quoted_(!std::isfinite(value)) {}
  LogField(const LogField&) = delete;
  LogField& operator=(const LogField&) = delete;

  absl::string_view key() const { return key_; }
  absl::string_view text() const { return text_; }
  bool quoted() const { return quoted_; }

 private:
  // The message: the names of codes (ALREADY_EXISTS) are for programs.
  static std::string InWords(const absl::Status& status);

  absl::string_view key_;
  std::string own_;
  absl::string_view text_;
  bool quoted_;
};

// Sets where, how and from which level on. Any thread, any time; errors leave the former state.
absl::Status ConfigureLog(const LogOptions& options);

// True if an event of that level would be written: for callers whose fields cost something.
bool LogEnabled(LogLevel level);

// Writes one line:  base::Log(base::LogLevel::kInfo, "listening", {{"url", url}, {"shards", 4}});
// `event` is a fixed phrase of a few words, so that it can be searched for. Any thread; takes a
// lock and writes to the file, so never once per message.
void Log(LogLevel level, absl::string_view event, std::initializer_list<LogField> fields = {});

// The same for an event that others can bring about as often as they like. Of each cause the first
// lines are written, then one a second; `left_out` in a line says how many were not since the last
// one, of the same event and cause. `event` and `cause` are fixed phrases; so is not what is in
// `fields`. The cause stands in the line as `reason`.
void LogLimited(LogLevel level, absl::string_view event, absl::string_view cause,
                std::initializer_list<LogField> fields);

// The same in two steps, where fields cost something to find out: a line that may be written, and
// how many were left out before it. Null: it is left out.
class LimitedLine {
 public:
  static std::optional<LimitedLine> Take(LogLevel level, absl::string_view event,
                                         absl::string_view cause);
  void Write(std::initializer_list<LogField> fields) const;

 private:
  LimitedLine(LogLevel level, absl::string_view event, absl::string_view cause, uint64_t left_out)
      : level_(level), event_(event), cause_(cause), left_out_(left_out) {}

  LogLevel level_;
  absl::string_view event_;
  absl::string_view cause_;
  uint64_t left_out_;
};

// Says how many lines were left out of events that came to an end meanwhile; once a second.
void LogLeftOut();

// An identifier, topic or name of a client for a line: as it is, or what fits and its length.
std::string Shortened(absl::string_view text);

// "debug", "info", "warning", "error", "off".
bool ParseLogLevel(absl::string_view text, LogLevel& level);

}  // namespace base

#endif  // BASE_LOG_H_
