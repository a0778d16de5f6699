// How long tests wait for what should come at once.
#ifndef TESTS_SUPPORT_PATIENCE_H_
#define TESTS_SUPPORT_PATIENCE_H_

#include <algorithm>
#include <cstdlib>

namespace support {

// What a time limit is multiplied by: MQTTD_TEST_SLOWDOWN (`./dev asan` and `./dev tsan` set it,
// their programs are some times slower), else 1. Only a failure ever reaches a limit.
inline int TestSlowdown() {
  const char* text = std::getenv("MQTTD_TEST_SLOWDOWN");
  return std::clamp(text != nullptr ? std::atoi(text) : 1, 1, 100);
}

}  // namespace support

#endif  // TESTS_SUPPORT_PATIENCE_H_
