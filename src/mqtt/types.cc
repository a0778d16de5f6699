#include "mqtt/types.h"

#include <ostream>

namespace mqtt {

std::string_view PacketTypeName(PacketType type) {
  constexpr std::string_view kNames[] = {"RESERVED",  "CONNECT",  "CONNACK",     "PUBLISH",
                                         "PUBACK",    "PUBREC",   "PUBREL",      "PUBCOMP",
                                         "SUBSCRIBE", "SUBACK",   "UNSUBSCRIBE", "UNSUBACK",
                                         "PINGREQ",   "PINGRESP", "DISCONNECT",  "AUTH"};
  return kNames[static_cast<size_t>(type) & 0x0F];
}

std::ostream& operator<<(std::ostream& out, Version version) {
  switch (version) {
    case Version::kUnknown:
      return out << "unknown";
    case Version::k31:
      return out << "3.1";
    case Version::k311:
      return out << "3.1.1";
    case Version::k5:
      return out << "5.0";
  }
  return out << "version " << static_cast<unsigned>(version);
}

std::ostream& operator<<(std::ostream& out, QoS qos) { return out << static_cast<unsigned>(qos); }

std::ostream& operator<<(std::ostream& out, PacketType type) { return out << PacketTypeName(type); }

std::ostream& operator<<(std::ostream& out, PacketId id) { return out << id.value; }

std::ostream& operator<<(std::ostream& out, Sender sender) {
  return out << (sender == Sender::kClient ? "client" : "server");
}

std::ostream& operator<<(std::ostream& out, RetainHandling handling) {
  return out << static_cast<unsigned>(handling);
}

std::ostream& operator<<(std::ostream& out, const SubscriptionOptions& options) {
  out << "qos=" << options.qos;
  if (options.no_local) out << " no-local";
  if (options.retain_as_published) out << " retain-as-published";
  if (options.retain_handling != RetainHandling::kSend) {
    out << " retain-handling=" << options.retain_handling;
  }
  return out;
}

std::ostream& operator<<(std::ostream& out, const Violation& violation) {
  return out << violation.reason << " [" << violation.rule << "]";
}

}  // namespace mqtt
