// The admin API over gRPC.
#ifndef ADMIN_API_GRPC_SERVER_H_
#define ADMIN_API_GRPC_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "admin/api/calls.h"
#include "admin/api/method.h"
#include "config/config.h"

namespace admin {

// Any method of `Methods`, by its name. gRPC's threads carry the calls; handlers must not wait on
// them.
class GrpcServer {
 public:
  // All of it outlives the server.
  struct Parts {
    const Methods* methods = nullptr;
    Calls* calls = nullptr;
  };

  // Listens; null if the options say off. Errors: kUnavailable (the port is taken, no such
  // address), kInvalidArgument (the TLS files), in words.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const config::AdminOptions& options,
                                                           Parts parts);
  virtual ~GrpcServer() = default;  // Stops at once, if Stop was not called.

  // New calls are refused; those under way may end until the deadline, then they are cut off.
  virtual void Stop(absl::Duration patience) = 0;
  // "127.0.0.1:9884": with the port that the system chose.
  virtual const std::string& address() const = 0;
};

}  // namespace admin

#endif  // ADMIN_API_GRPC_SERVER_H_
