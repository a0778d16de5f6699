#include "storage/rocksdb_logger.h"

#include <rocksdb/env.h>

#include <cstdarg>
#include <cstdio>
#include <string>

#include "base/log.h"

namespace storage {
namespace {

constexpr size_t kLineBytesMax = 1024;

class Logger final : public rocksdb::Logger {
 public:
  explicit Logger(absl::string_view database)
      : rocksdb::Logger(rocksdb::WARN_LEVEL), database_(database) {}

  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    Logv(rocksdb::INFO_LEVEL, format, arguments);
  }

  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (level < GetInfoLogLevel() || !base::LogEnabled(base::LogLevel::kDebug)) return;
    char line[kLineBytesMax];
    if (std::vsnprintf(line, sizeof(line), format, arguments) < 0) return;
    base::Log(base::LogLevel::kDebug, "rocksdb", {{"database", database_}, {"message", line}});
  }

  // The options in force, at every start.
  void LogHeader(const char* /*format*/, va_list /*arguments*/) override {}

 private:
  const std::string database_;
};

}  // namespace

std::shared_ptr<rocksdb::Logger> MakeRocksDbLogger(absl::string_view database) {
  return std::make_shared<Logger>(database);
}

}  // namespace storage
