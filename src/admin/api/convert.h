// Times and intervals as protobuf has them.
#ifndef ADMIN_API_CONVERT_H_
#define ADMIN_API_CONVERT_H_

#include <cstdint>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace admin {

inline google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp result;
  const int64_t nanos = absl::ToUnixNanos(time);
  const int64_t second = 1'000'000'000;
  const int64_t rest = (nanos % second + second) % second;
  result.set_seconds((nanos - rest) / second);
  result.set_nanos(static_cast<int32_t>(rest));
  return result;
}

inline google::protobuf::Duration ToDuration(absl::Duration duration) {
  google::protobuf::Duration result;
  absl::Duration rest;
  result.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  result.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return result;
}

inline absl::Time FromTimestamp(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

inline absl::Duration FromDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

}  // namespace admin

#endif  // ADMIN_API_CONVERT_H_
