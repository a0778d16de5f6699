// The admin API for people and programs that know OpenAPI.
#ifndef ADMIN_API_OPENAPI_H_
#define ADMIN_API_OPENAPI_H_

#include <string>

#include "admin/api/method.h"

namespace admin {

// An OpenAPI 3.0 document of the methods of mqttd.admin.v1 as HttpApi serves them, with the words
// of their .proto files. Always the same text for the same methods.
std::string OpenApi(const Methods& methods);

}  // namespace admin

#endif  // ADMIN_API_OPENAPI_H_
