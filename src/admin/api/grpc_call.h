// One call of the admin API by gRPC, from its headers to its status.
#ifndef ADMIN_API_GRPC_CALL_H_
#define ADMIN_API_GRPC_CALL_H_

#include <grpcpp/generic/async_generic_service.h>

#include "admin/api/calls.h"
#include "admin/api/method.h"

namespace admin {

// Serves itself and goes when it is over.
grpc::ServerGenericBidiReactor* StartGrpcCall(grpc::GenericCallbackServerContext& context,
                                              const Methods& methods, Calls& calls);

}  // namespace admin

#endif  // ADMIN_API_GRPC_CALL_H_
