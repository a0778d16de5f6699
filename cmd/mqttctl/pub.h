// mqttctl pub: publishes what mosquitto_pub publishes.
#ifndef CMD_MQTTCTL_PUB_H_
#define CMD_MQTTCTL_PUB_H_

#include <cstdint>
#include <optional>
#include <string>

#include "arguments.h"

namespace mqttctl {

struct PubArguments {
  ConnectionArguments connection;
  std::string topic;
  std::optional<std::string> message;  // -m
  std::string file;                    // -f
  bool lines = false;                  // -l
  bool standard_input = false;         // -s
  bool nothing = false;                // -n
  bool retain = false;
  int64_t repeat = 1;
  double repeat_delay_s = 0;
};

void AddPubOptions(CLI::App& command, PubArguments& arguments);
// Returns the exit status.
int Pub(const PubArguments& arguments);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_PUB_H_
