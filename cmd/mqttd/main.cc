// mqttd: the broker. Wiring only.
#include <cstdio>

#include "base/version.h"

int main() {
  std::printf("mqttd %s\n", base::kVersion);
  return 0;
}
