// A message on the command line.
#ifndef CMD_MQTTCTL_VERBS_MESSAGE_ARGUMENTS_H_
#define CMD_MQTTCTL_VERBS_MESSAGE_ARGUMENTS_H_

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "mqttd/admin/v1/messages.pb.h"

namespace mqttctl {

struct MessageArguments {
  std::string topic;
  std::optional<std::string> payload;
  std::string file;
  uint32_t qos = 0;
  bool retain = false;
  std::optional<uint32_t> expiry_s;
};

void AddMessageOptions(CLI::App& verb, MessageArguments& arguments);
absl::Status Fill(const MessageArguments& arguments, ::mqttd::admin::v1::Message& message);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_VERBS_MESSAGE_ARGUMENTS_H_
