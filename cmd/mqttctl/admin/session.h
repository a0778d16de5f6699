// A verb's way to the admin API of a broker.
#ifndef CMD_MQTTCTL_ADMIN_SESSION_H_
#define CMD_MQTTCTL_ADMIN_SESSION_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace mqttctl {

// What all verbs of the admin API take. Each may come from the environment, too.
struct EndpointArguments {
  std::string endpoint = "127.0.0.1:9884";  // MQTTCTL_ENDPOINT
  std::string token;                        // MQTTCTL_TOKEN
  std::string token_file;                   // MQTTCTL_TOKEN_FILE
  std::string ca_file;                      // MQTTCTL_CA_FILE: who signs the broker's certificate.
  std::string cert_file;                    // MQTTCTL_CERT_FILE: ours.
  std::string key_file;                     // MQTTCTL_KEY_FILE
  std::string server_name;  // That the broker's certificate names, if it is not the endpoint's.
  int timeout_s = 30;
};

// Exit statuses of these verbs; `docs/mqttctl.md` has them.
inline constexpr int kExitUnreachable = 3;
inline constexpr int kExitNotAllowed = 4;
inline constexpr int kExitNotFound = 5;
inline constexpr int kExitRefused = 6;

// One thread.
class AdminSession {
 public:
  using Message = google::protobuf::Message;

  // Errors: a file that cannot be read.
  static absl::StatusOr<std::unique_ptr<AdminSession>> Open(const EndpointArguments& arguments);
  virtual ~AdminSession() = default;

  // `method`: "Clients/List". Errors: the broker's, or kUnavailable, in words for the user.
  virtual absl::Status Call(const std::string& method, const Message& request,
                            Message& response) = 0;
  // `each` is called for each answer, which is in `response`; false: that is enough.
  virtual absl::Status Stream(const std::string& method, const Message& request, Message& response,
                              const std::function<bool()>& each) = 0;
  // All is done once more: what was warned of is warned of again.
  virtual void Again() = 0;
};

// "Error: …" on stderr, with what to do about it; the exit status.
int PrintAdminError(const EndpointArguments& arguments, const absl::Status& status);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_ADMIN_SESSION_H_
