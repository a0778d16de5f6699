// mqttctl sub: prints what mosquitto_sub prints.
#ifndef CMD_MQTTCTL_SUB_H_
#define CMD_MQTTCTL_SUB_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arguments.h"

namespace mqttctl {

struct SubArguments {
  ConnectionArguments connection;
  std::vector<std::string> filters;           // -t
  std::vector<std::string> filters_out;       // -T
  std::vector<std::string> unsubscribe_from;  // -U
  std::optional<int64_t> count;               // -C
  std::optional<double> timeout_s;            // -W
  std::optional<std::string> format;          // -F
  bool verbose = false;                       // -v
  bool no_line_end = false;                   // -N
  bool exit_after_subscribing = false;        // -E
  bool no_retained = false;                   // -R
  bool retained_only = false;
  bool remove_retained = false;
  bool retain_as_published = false;
  bool no_local = false;
  int retain_handling = 0;
  bool pretty = false;
  double chance_percent = 100;
};

void AddSubOptions(CLI::App& command, SubArguments& arguments);
// Returns the exit status.
int Sub(const SubArguments& arguments);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_SUB_H_
