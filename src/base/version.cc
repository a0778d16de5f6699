#include "base/version.h"

namespace base {

const char kVersion[] = MQTTD_VERSION;

}  // namespace base
