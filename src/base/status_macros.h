// Handing on an absl::Status in one line. The only macros that return.
#ifndef BASE_STATUS_MACROS_H_
#define BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the Status of `expression` from the enclosing function if it is not OK.
#define RETURN_IF_ERROR(expression)                                                        \
  do {                                                                                     \
    if (absl::Status mqttd_status = (expression); !mqttd_status.ok()) return mqttd_status; \
  } while (false)

// ASSIGN_OR_RETURN(auto value, Expression()): the value of a StatusOr, or returns its Status.
#define ASSIGN_OR_RETURN(target, expression) \
  MQTTD_ASSIGN_OR_RETURN_(MQTTD_CONCAT_(mqttd_status_or_, __LINE__), target, expression)

#define MQTTD_CONCAT_INNER_(a, b) a##b
#define MQTTD_CONCAT_(a, b) MQTTD_CONCAT_INNER_(a, b)
#define MQTTD_ASSIGN_OR_RETURN_(holder, target, expression) \
  auto holder = (expression);                               \
  if (!holder.ok()) return std::move(holder).status();      \
  target = *std::move(holder)

#endif  // BASE_STATUS_MACROS_H_
