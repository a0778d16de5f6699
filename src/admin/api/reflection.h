// gRPC's reflection: what services, methods and messages there are, for grpcurl and the like.
#ifndef ADMIN_API_REFLECTION_H_
#define ADMIN_API_REFLECTION_H_

#include "admin/api/method.h"

namespace admin {

// After all others: it tells of those that are there. `methods` outlives the handlers.
void AddReflection(Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_REFLECTION_H_
