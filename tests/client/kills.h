// How often the tests that end processes by force do so.
#ifndef TESTS_CLIENT_KILLS_H_
#define TESTS_CLIENT_KILLS_H_

#include <algorithm>
#include <cstdlib>

namespace mqttd::client {

inline int Kills() {
  const char* text = std::getenv("MQTTD_CLIENT_KILLS");
  return text == nullptr ? 5 : std::max(1, std::atoi(text));
}

}  // namespace mqttd::client

#endif  // TESTS_CLIENT_KILLS_H_
