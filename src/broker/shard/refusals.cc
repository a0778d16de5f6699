#include "broker/shard/refusals.h"

#include <string>

#include "base/by_name.h"
#include "base/log.h"
#include "broker/shard/connect_flow.h"
#include "broker/shard/listener_terms.h"

namespace broker {
namespace {

using base::AbslView;

std::string Shortened(std::string_view text) { return base::Shortened(AbslView(text)); }

}  // namespace

void LogRefused(const Connection& connection, std::string_view event, std::string_view reason,
                std::string_view what_key, std::string_view what, std::string_view client_id) {
  // First: who floods us with what is refused costs no more than this.
  const auto line =
      base::LimitedLine::Take(base::LogLevel::kInfo, AbslView(event), AbslView(reason));
  if (!line.has_value()) return;
  std::string client = Shortened(client_id), user;
  if (connection.session != nullptr) {
    client = Shortened(connection.session->client_id.view());
    user = Shortened(connection.session->user_name());
  } else if (connection.connecting != nullptr) {
    const auth::Credentials& credentials = connection.connecting->credentials;
    const std::string& proven = connection.connecting->identity.user_name;
    client = Shortened(credentials.client_id);
    user = Shortened(proven.empty() ? credentials.user_name.value_or(std::string()) : proven);
  }
  const PeerInfo peer = connection.stream->peer();
  const std::string& listener = connection.listener.name;
  if (what.empty()) {
    line->Write({{"client", client},
                 {"user", user},
                 {"address", peer.address},
                 {"port", peer.port},
                 {"listener", listener}});
  } else {
    line->Write({{AbslView(what_key), Shortened(what)},
                 {"client", client},
                 {"user", user},
                 {"address", peer.address},
                 {"port", peer.port},
                 {"listener", listener}});
  }
}

void LogDropped(const Session& session, std::string_view topic, DropCause cause) {
  if (!base::LogEnabled(base::LogLevel::kDebug)) return;
  base::Log(base::LogLevel::kDebug, "message dropped",
            {{"reason", AbslView(Name(cause))},
             {"client", Shortened(session.client_id.view())},
             {"topic", Shortened(topic)}});
}

std::string_view WordsFor(CloseCause cause) {
  switch (cause) {
    case CloseCause::kConnectTimeout:
      return "no CONNECT within broker.connect_timeout";
    case CloseCause::kKeepAliveTimeout:
      return "nothing came for one and a half times its Keep Alive";
    case CloseCause::kPacketTimeout:
      return "a packet had begun and was not complete within mqtt.packet_timeout";
    case CloseCause::kMemory:
      return "it held much memory when there was too little";
    case CloseCause::kTakenOver:
      return "its Client Identifier connected again";
    case CloseCause::kViolation:
      return "it broke a rule of MQTT";
    case CloseCause::kOutputFull:
      return "it does not read what it is sent, and its queue is full";
    case CloseCause::kOverloaded:
      return "it publishes faster than mqtt.publish_rate_max or mqtt.publish_bytes_rate_max";
    case CloseCause::kAdministrative:
      return "an operator ended it, its account or its rights are gone, or a packet for it is "
             "larger "
             "than it takes";
    case CloseCause::kStorageFailed:
      return "what it asked for could not be stored";
    case CloseCause::kNoQuorum:
      return "most nodes of the cluster cannot be reached, and its session is kept by them";
    case CloseCause::kAside:
      return "this node's disk takes nothing, and it leaves its clients to the other nodes";
    case CloseCause::kHook:
      return "a hook of the embedding program ended it, failed, or took too long";
    case CloseCause::kDisconnect:
    case CloseCause::kPeerClosed:
    case CloseCause::kTransportError:  // Has a line of its own.
    case CloseCause::kConnectRefused:  // Likewise.
    case CloseCause::kShutdown:
    case CloseCause::kCount_:
      break;
  }
  return {};
}

}  // namespace broker
