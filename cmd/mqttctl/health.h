// mqttctl health and mqttctl drain: what container runtimes and scripts ask of a broker that runs
// beside them.
#ifndef CMD_MQTTCTL_HEALTH_H_
#define CMD_MQTTCTL_HEALTH_H_

#include <string>

#include "arguments.h"

namespace mqttctl {

inline constexpr char kHttpEndpoint[] = "http://127.0.0.1:9883";

struct HealthArguments {
  std::string url = kHttpEndpoint;
  bool ready = false;
  bool replicas = false;
  double timeout_s = 5;
  bool quiet = false;
};

void AddHealthOptions(CLI::App& command, HealthArguments& arguments);
// 0: healthy; 1: not, or no answer.
int Health(const HealthArguments& arguments);

struct DrainArguments {
  std::string url = kHttpEndpoint;
  int pid = 0;
  double timeout_s = 60;
  bool quiet = false;
};

void AddDrainOptions(CLI::App& command, DrainArguments& arguments);
// 0: the last client is gone; 1: it could not be told; kExitTimedOut: the time is over.
int Drain(const DrainArguments& arguments);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_HEALTH_H_
