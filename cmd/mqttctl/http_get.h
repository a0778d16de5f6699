// One GET of a broker's HTTP endpoint.
#ifndef CMD_MQTTCTL_HTTP_GET_H_
#define CMD_MQTTCTL_HTTP_GET_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mqttctl {

struct HttpTarget {
  std::string host;
  std::string port;
  std::string path;
};

// "http://host[:port][/path]"
absl::StatusOr<HttpTarget> ParseHttpTarget(const std::string& url);

struct HttpAnswer {
  unsigned status = 0;
  std::string body;
};

// Waits for the whole answer. Errors: kUnavailable, if nobody listens or it does not answer in
// time.
absl::StatusOr<HttpAnswer> HttpGet(const HttpTarget& target, absl::Duration timeout);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_HTTP_GET_H_
