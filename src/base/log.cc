#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "base/log_file.h"
#include "base/mutex.h"

namespace base {
namespace {

struct Sink {
  LogFormat format = LogFormat::kText;
  bool journal = false;  // A line begins with its priority, for systemd's journal.
  std::shared_ptr<spdlog::logger> logger;
};

// systemd says in JOURNAL_STREAM which stream is its journal's; it may have been redirected since.
bool IsJournal(int fd) {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat now {};
  return stream != nullptr && fstat(fd, &now) == 0 &&
         absl::StrCat(now.st_dev, ":", now.st_ino) == stream;
}

// The priorities of syslog(3), in the form of sd-daemon(3).
constexpr absl::string_view JournalPrefix(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "<7>";
    case LogLevel::kInfo:
      return "<6>";
    case LogLevel::kWarning:
      return "<4>";
    case LogLevel::kError:
    case LogLevel::kOff:
      return "<3>";
  }
  return "<3>";
}

Sink MakeStderrSink() {
  Sink sink;
  sink.journal = IsJournal(STDERR_FILENO);
  sink.logger =
      std::make_shared<spdlog::logger>("mqttd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  sink.logger->set_pattern("%v");
  sink.logger->set_level(spdlog::level::trace);  // Levels are decided before the line is made.
  return sink;
}

std::atomic<LogLevel> g_level{LogLevel::kInfo};
Mutex g_mutex;

Sink& CurrentSink() ABSL_EXCLUSIVE_LOCKS_REQUIRED(g_mutex) {
  static Sink& sink = *new Sink(MakeStderrSink());  // Outlives whatever logs during exit.
  return sink;
}

constexpr absl::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
    case LogLevel::kOff:
      return "off";
  }
  return "unknown";
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

// Length of the well-formed UTF-8 sequence that `text` begins with, 0 if it begins with none.
size_t Utf8SequenceLength(absl::string_view text) {
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  const size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (length == 0 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool beyond = (lead == 0xed && byte(1) > 0x9f) || (lead == 0xf4 && byte(1) > 0x8f);
  return overlong || beyond ? 0 : length;
}

// A JSON string of arbitrary bytes: a client identifier cannot break a line or forge one, and what
// is not UTF-8 comes out as U+00XX, so that the line stays JSON.
void AppendJsonString(std::string& out, absl::string_view text) {
  out.push_back('"');
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text[0]);
    const size_t length = Utf8SequenceLength(text);
    if (length == 0 || byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&out, "\\u%04x", byte);
    } else {
      if (byte == '"' || byte == '\\') out.push_back('\\');
      absl::StrAppend(&out, text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out.push_back('"');
}

bool IsPlainWord(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
  });
}

using Fields = absl::Span<const LogField>;

std::string TextLine(absl::string_view time, LogLevel level, absl::string_view event, Fields first,
                     Fields fields) {
  std::string line = absl::StrCat(time, " ", LevelName(level), " ", event);
  for (const Fields part : {first, fields}) {
    for (const LogField& field : part) {
      absl::StrAppend(&line, " ", field.key(), "=");
      if (!field.quoted() || IsPlainWord(field.text())) {
        absl::StrAppend(&line, field.text());
      } else {
        absl::StrAppend(&line, "\"", absl::Utf8SafeCEscape(field.text()), "\"");
      }
    }
  }
  return line;
}

std::string JsonLine(absl::string_view time, LogLevel level, absl::string_view event, Fields first,
                     Fields fields) {
  std::string line =
      absl::StrCat("{\"time\":\"", time, "\",\"level\":\"", LevelName(level), "\",\"event\":");
  AppendJsonString(line, event);
  for (const Fields part : {first, fields}) {
    for (const LogField& field : part) {
      line.push_back(',');
      AppendJsonString(line, field.key());
      line.push_back(':');
      if (field.quoted()) {
        AppendJsonString(line, field.text());
      } else {
        absl::StrAppend(&line, field.text());
      }
    }
  }
  line.push_back('}');
  return line;
}

}  // namespace

absl::Status ConfigureLog(const LogOptions& options) {
  Sink sink = MakeStderrSink();
  if (!options.file.empty()) {
    if (absl::Status status = CheckLogFile(options.file); !status.ok()) return status;
    sink.journal = false;
    try {  // spdlog throws where a file does not open; nothing of ours does.
      sink.logger = std::make_shared<spdlog::logger>(
          "mqttd", std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file));
      sink.logger->set_pattern("%v");
      sink.logger->set_level(spdlog::level::trace);
      sink.logger->flush_on(spdlog::level::trace);
    } catch (const spdlog::spdlog_ex& error) {
      return absl::FailedPreconditionError(absl::StrCat("log file: ", error.what()));
    }
  }
  sink.format = options.format;
  MutexLock lock(g_mutex);
  CurrentSink() = std::move(sink);
  g_level.store(options.level, std::memory_order_relaxed);
  return absl::OkStatus();
}

bool LogEnabled(LogLevel level) {
  return level >= g_level.load(std::memory_order_relaxed) && level != LogLevel::kOff;
}

namespace {

void WriteLine(LogLevel level, absl::string_view event, Fields first, Fields fields) {
  const std::string time =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  Sink sink;
  {
    MutexLock lock(g_mutex);
    sink = CurrentSink();
  }
  std::string line = sink.format == LogFormat::kJson ? JsonLine(time, level, event, first, fields)
                                                     : TextLine(time, level, event, first, fields);
  if (sink.journal) line = absl::StrCat(JournalPrefix(level), line);
  sink.logger->log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

// Lines at once, of one event and cause; then one a second.
constexpr int64_t kLinesAtOnce = 50;
constexpr int64_t kNsPerLine = 1'000'000'000;

// A bucket that holds `kLinesAtOnce` lines. Full at `full_at_ns`.
struct Limit {
  LogLevel level = LogLevel::kInfo;
  int64_t full_at_ns = 0;
  uint64_t left_out = 0;

  bool Take(int64_t now_ns) {
    if (full_at_ns - now_ns > (kLinesAtOnce - 1) * kNsPerLine) return false;
    full_at_ns = std::max(full_at_ns, now_ns) + kNsPerLine;
    return true;
  }
};

using Limits = std::map<std::pair<std::string, std::string>, Limit>;
Mutex g_limits_mutex;
Limits& CurrentLimits() ABSL_EXCLUSIVE_LOCKS_REQUIRED(g_limits_mutex) {
  static Limits& limits = *new Limits();
  return limits;
}

int64_t MonotonicNs() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void Log(LogLevel level, absl::string_view event, std::initializer_list<LogField> fields) {
  if (LogEnabled(level)) WriteLine(level, event, {}, Fields(fields.begin(), fields.size()));
}

std::optional<LimitedLine> LimitedLine::Take(LogLevel level, absl::string_view event,
                                             absl::string_view cause) {
  if (!LogEnabled(level)) return std::nullopt;
  MutexLock lock(g_limits_mutex);
  Limit& limit = CurrentLimits()[{std::string(event), std::string(cause)}];
  limit.level = level;
  if (!limit.Take(MonotonicNs())) {
    ++limit.left_out;
    return std::nullopt;
  }
  return LimitedLine(level, event, cause, std::exchange(limit.left_out, 0));
}

void LimitedLine::Write(std::initializer_list<LogField> fields) const {
  const LogField first[] = {{"reason", cause_}, {"left_out", left_out_}};
  WriteLine(level_, event_, Fields(first, left_out_ == 0 ? 1 : 2),
            Fields(fields.begin(), fields.size()));
}

void LogLimited(LogLevel level, absl::string_view event, absl::string_view cause,
                std::initializer_list<LogField> fields) {
  if (const auto line = LimitedLine::Take(level, event, cause)) line->Write(fields);
}

void LogLeftOut() {
  struct Line {
    std::string event, cause;
    LogLevel level;
    uint64_t left_out;
  };
  std::vector<Line> lines;
  {
    MutexLock lock(g_limits_mutex);
    const int64_t now_ns = MonotonicNs();
    for (auto& [name, limit] : CurrentLimits()) {
      if (limit.left_out == 0 || !limit.Take(now_ns)) continue;
      lines.push_back({name.first, name.second, limit.level, std::exchange(limit.left_out, 0)});
    }
  }
  for (const Line& line : lines) {
    Log(line.level, absl::StrCat(line.event, ", more of them"),
        {{"reason", line.cause}, {"left_out", line.left_out}});
  }
}

std::string Shortened(absl::string_view text) {
  constexpr size_t kBytesMax = 100;
  if (text.size() <= kBytesMax) return std::string(text);
  size_t end = kBytesMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), "… (", text.size(), " bytes)");
}

std::string LogField::InWords(const absl::Status& status) {
  if (status.ok()) return "none";
  return status.message().empty() ? "no details" : std::string(status.message());
}

bool ParseLogLevel(absl::string_view text, LogLevel& level) {
  for (const LogLevel candidate :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError, LogLevel::kOff}) {
    if (text == LevelName(candidate)) {
      level = candidate;
      return true;
    }
  }
  return false;
}

}  // namespace base
