#include "broker/shard/connect_flow.h"

#include <utility>

#include "base/by_name.h"
#include "base/log.h"
#include "broker/core/publish_right.h"
#include "broker/shard/access_refresh.h"
#include "broker/shard/changed_message.h"
#include "broker/shard/claims.h"
#include "broker/shard/fence.h"
#include "broker/shard/packet_output.h"
#include "broker/shard/refusals.h"
#include "mqtt/decode.h"
#include "mqtt/encode.h"
#include "mqtt/message.h"
#include "mqtt/writer.h"

namespace broker {
namespace {

// Tells a 5.0 client what it cannot count on.
constexpr mqtt::UserProperty kDegraded = {
    .name = "mqttd-degraded",
    .value =
        "most nodes of the cluster cannot be reached: nothing is kept, and clients of the "
        "other nodes hear nothing"};

// A claim that takes longer waits for a leader, or for a disk that hangs.
constexpr uint32_t kFreshTicks = ShardContext::kTicksPerSecond;

using mqtt::ReasonCode;

ReasonCode ToReason(auth::AuthCode code) { return static_cast<ReasonCode>(code); }

ReasonCode ToReason(const absl::Status& status) {
  if (absl::IsResourceExhausted(status)) return ReasonCode::kQuotaExceeded;
  return ReasonCode::kServerUnavailable;
}

std::string_view WordsFor(auth::AuthCode code) {
  switch (code) {
    case auth::AuthCode::kBadUserNameOrPassword:
      return "bad user name or password";
    case auth::AuthCode::kNotAuthorized:
      return "anonymous clients are not allowed here, or its certificate names no user";
    case auth::AuthCode::kServerBusy:
      return "auth.hash_queue_max logins wait already";
    default:
      return mqtt::ReasonCodeName(ToReason(code));
  }
}

std::optional<auth::CertificateFields> CertificateOf(const PeerInfo& peer) {
  if (peer.certificate_subject_dn.empty() && peer.certificate_subject_cn.empty() &&
      peer.certificate_sans.empty()) {
    return std::nullopt;
  }
  auth::CertificateFields fields;
  fields.common_name = peer.certificate_subject_cn;
  fields.subject_dn = peer.certificate_subject_dn;
  for (const std::string& name : peer.certificate_sans) {
    const std::string_view text = name;
    if (text.substr(0, 4) == "DNS:") fields.dns_names.emplace_back(text.substr(4));
    if (text.substr(0, 4) == "URI:") fields.uris.emplace_back(text.substr(4));
    if (text.substr(0, 6) == "email:") fields.email_addresses.emplace_back(text.substr(6));
  }
  return fields;
}

std::optional<std::string> ToString(const std::optional<std::string_view>& text) {
  if (!text.has_value()) return std::nullopt;
  return std::string(*text);
}

// Copies the will out of the frame, views and all.
void KeepWill(const mqtt::Will& will, PendingConnect& pending) {
  pending.has_will = true;
  pending.will = will;
  pending.will_delay_s = will.delay_interval;
  pending.will_bytes.reserve(will.topic.size() + will.payload.size() + will.raw_properties.size());
  const auto keep = [&](std::string_view text) {
    const size_t at = pending.will_bytes.size();
    pending.will_bytes.append(text);
    return std::string_view(pending.will_bytes).substr(at, text.size());
  };
  pending.will.topic = keep(will.topic);
  pending.will.payload = keep(will.payload);
  pending.will.raw_properties = keep(will.raw_properties);
}

void LogConnected(const Connection& connection, bool session_present) {
  const Session& session = *connection.session;
  const PeerInfo peer = connection.stream->peer();
  base::Log(base::LogLevel::kDebug, "client connected",
            {{"client", base::Shortened(base::AbslView(session.client_id.view()))},
             {"user", base::Shortened(base::AbslView(session.user_name()))},
             {"listener", connection.listener.name},
             {"address", peer.address},
             {"port", peer.port},
             {"keep_alive_s", connection.keep_alive_s},
             {"session_expiry_s", session.session_expiry_s},
             {"session_present", session_present}});
}

}  // namespace

void ConnectFlow::OnConnect(Connection& connection, const mqtt::FrameHeader& header,
                            mqtt::Bytes body) {
  mqtt::Connect connect;
  auto violation = mqtt::DecodeConnect(header, body, connect);
  connection.version = connect.version;
  const Limits& limits = connection.listener.limits;
  if (!violation.has_value()) violation = CheckConnect(connect, limits);
  if (violation.has_value()) {
    context_.metrics.violations.Add(violation->rule);
    LogRefused(connection, "connection refused", "its CONNECT breaks a rule of MQTT or a limit",
               "rule", violation->rule, connect.client_id);
    return SendRefusal(connection, violation->reason, violation->rule,
                       connect.maximum_packet_size.value_or(mqtt::kPacketSizeMax));
  }
  const ConnectTerms terms = TermsFor(connect, limits);
  // Whoever may have a session here is asked for last, see OpenSession::only_known.
  const bool may_be_known = terms.session_expiry_s > 0 && !connect.client_id.empty();
  if (context_.memory_high && !may_be_known) {
    context_.metrics.connections_refused[RefuseCause::kMemory].Add();
    LogRefused(connection, "connection refused", "memory is above broker.memory_high_bytes", {}, {},
               connect.client_id);
    return SendRefusal(connection, ReasonCode::kServerBusy, {},
                       connect.maximum_packet_size.value_or(mqtt::kPacketSizeMax));
  }
  connection.connecting = std::make_unique<PendingConnect>(context_.memory());
  PendingConnect& pending = *connection.connecting;
  pending.held.Set(sizeof(PendingConnect) + body.size());  // Nearly all of it is copied.
  pending.terms = terms;
  pending.clean_start = connect.clean_start;
  pending.response_information = connect.request_response_information;
  pending.problem_information = connect.request_problem_information;
  pending.bridge = connect.bridge && connect.version != mqtt::Version::k5;
  pending.assigned_client_id = connect.client_id.empty();
  pending.credentials.client_id_assigned = pending.assigned_client_id;
  pending.credentials.client_id = pending.assigned_client_id
                                      ? AssignedClientId(context_.rng(), context_.rng())
                                      : std::string(connect.client_id);
  pending.credentials.listener = connection.listener.name;
  pending.credentials.user_name = ToString(connect.user_name);
  pending.credentials.password = ToString(connect.password);
  pending.access_generation = connection.listener.gatekeeper->generation();
  const PeerInfo peer = connection.stream->peer();
  if (peer.proxied && !AdmitProxied(connection, peer.address)) return;
  if (!CheckBans(connection, connect.user_name.value_or(std::string_view()))) return;
  if (peer.tls) pending.credentials.certificate = CertificateOf(peer);
  if (connect.will.has_value()) KeepWill(*connect.will, pending);
  context_.Pause(connection, kPauseDeciding);

  if (connect.authentication_method.has_value()) {
    pending.authentication_method = std::string(*connect.authentication_method);
    pending.exchange = methods_.Create(pending.authentication_method);
    if (pending.exchange == nullptr)
      return Refuse(connection, ReasonCode::kBadAuthenticationMethod,  // [MQTT5-4.12.0-1]
                    "no such authentication method");
    return OnStep(connection, pending.exchange->Start(
                                  pending.credentials,
                                  connect.authentication_data.value_or(std::string_view())));
  }
  if (auto outcome = connection.listener.gatekeeper->TryNow(pending.credentials)) {
    return OnOutcome(connection, *std::move(outcome));
  }
  connection.phase = Phase::kAuthenticating;
  pending.password_check =
      connection.listener.gatekeeper->Verify(connection.ref, pending.credentials, peer.address);
}

const auth::Ban* ConnectFlow::BanOf(const Connection& connection, const auth::BanTable& bans,
                                    std::string_view client_id, std::string_view user_name) const {
  return bans.Find(client_id, user_name, connection.stream->peer().address, context_.now_unix_ms);
}

bool ConnectFlow::CheckBans(Connection& connection, std::string_view user_name) {
  const auto bans = connection.listener.gatekeeper->bans();
  if (bans == nullptr) return true;
  const std::string& client_id = connection.connecting->credentials.client_id;
  const auth::Ban* const ban = BanOf(connection, *bans, client_id, user_name);
  if (ban == nullptr) return true;
  context_.metrics.connections_refused[RefuseCause::kBanned].Add();
  LogRefused(connection, "connection refused", "it is banned", "ban",
             ban->reason.empty() ? ban->target.value : ban->target.value + ": " + ban->reason);
  SendRefusal(connection, ReasonCode::kBanned, {}, connection.connecting->terms.packet_size_max);
  return false;
}

// Between the decision and CONNACK the partition was asked, and whoever changes access looks only
// once for those who are connected.
void ConnectFlow::AskAgain(Connection& connection, uint64_t generation) {
  const Gatekeeper& gatekeeper = *connection.listener.gatekeeper;
  if (connection.phase != Phase::kConnected) return;
  if (gatekeeper.generation() != generation) (void)RefreshPermissions(context_, connection);
  const auto bans = gatekeeper.bans();
  if (bans == nullptr || connection.phase != Phase::kConnected) return;
  const Session& session = *connection.session;
  if (BanOf(connection, *bans, session.client_id.view(), session.user_name()) != nullptr)
    context_.Close(connection, {.cause = CloseCause::kAdministrative,
                                .say = ReasonCode::kAdministrativeAction});
}

void ConnectFlow::RefuseTooLarge(Connection& connection, const mqtt::FrameHeader& header,
                                 mqtt::Bytes bytes) {
  LogRefused(connection, "connection refused", "its CONNECT is larger than it may be", "bound",
             "connect_packet_size_max");
  context_.metrics.connections_refused[RefuseCause::kConnectSize].Add();
  // As far as it is here it may say in which version the answer is to be.
  mqtt::Connect connect;
  static_cast<void>(mqtt::DecodeConnect(header, bytes.subspan(header.header_size), connect));
  connection.version = connect.version;
  SendRefusal(connection, ReasonCode::kPacketTooLarge, {}, mqtt::kPacketSizeMax);
}

bool ConnectFlow::AdmitProxied(Connection& connection, const std::string& address) {
  using Verdict = Gatekeeper::Verdict;
  Gatekeeper::Admission admission =
      connection.listener.gatekeeper->AdmitProxied(address, context_.now_ns);
  if (admission.verdict == Verdict::kAdmitted) {
    if (admission.place != nullptr)
      source_places_[connection.ref.connection] = std::move(admission.place);
    return true;
  }
  if (admission.verdict == Verdict::kTooMany) {
    Refuse(connection, ReasonCode::kQuotaExceeded,
           "its address has address_connections_max connections");
  } else {
    Refuse(connection, ReasonCode::kConnectionRateExceeded,
           "its address connects faster than address_connection_rate_max");
  }
  return false;
}

void ConnectFlow::OnPasswordVerified(Connection& connection, auth::Outcome outcome) {
  if (connection.phase != Phase::kAuthenticating || !connection.connecting->will_is_decided) return;
  OnOutcome(connection, std::move(outcome));
}

void ConnectFlow::OnStep(Connection& connection, auth::AuthStep step) {
  PendingConnect& pending = *connection.connecting;
  switch (step.kind) {
    case auth::AuthStep::Kind::kContinue:
      connection.phase = Phase::kExchangingAuth;
      if (!SendAuth(connection, ReasonCode::kContinueAuthentication, pending.authentication_method,
                    step.data, pending.terms.packet_size_max))
        return Refuse(connection, ReasonCode::kPacketTooLarge,
                      "an AUTH packet is larger than it takes");
      context_.Resume(connection, kPauseDeciding);
      return;
    case auth::AuthStep::Kind::kOk:
      if (connection.phase == Phase::kExchangingAuth) context_.Pause(connection, kPauseDeciding);
      pending.authentication_data = std::move(step.data);
      pending.exchange.reset();
      return OnOutcome(
          connection, connection.listener.gatekeeper->AdmitAs(pending.credentials, step.user_name));
    case auth::AuthStep::Kind::kFail:
      context_.metrics.auth_failures.Add();
      return Refuse(connection, ToReason(step.code),  // [MQTT5-4.12.0-4]
                    mqtt::ReasonCodeName(ToReason(step.code)));
  }
}

void ConnectFlow::OnAuth(Connection& connection, const mqtt::Auth& packet) {
  const auto protocol_error = [&](std::string_view rule) {
    context_.Violated(connection, {ReasonCode::kProtocolError, rule});
  };
  if (connection.phase == Phase::kConnected) return OnReauthentication(connection, packet);
  PendingConnect& pending = *connection.connecting;
  if (packet.reason != ReasonCode::kContinueAuthentication) return protocol_error("MQTT5-4.12.0-3");
  if (packet.authentication_method != pending.authentication_method)
    return protocol_error("MQTT5-4.12.0-5");
  OnStep(connection,
         pending.exchange->Step(packet.authentication_data.value_or(std::string_view())));
}

void ConnectFlow::OnReauthentication(Connection& connection, const mqtt::Auth& packet) {
  const auto protocol_error = [&](std::string_view rule) {
    context_.Violated(connection, {ReasonCode::kProtocolError, rule});
  };
  const auto method = methods_in_use_.find(connection.ref.connection);
  // Without a method in CONNECT there is no AUTH [MQTT5-4.12.0-7]; with one, it stays the same
  // [MQTT5-4.12.1-1].
  if (method == methods_in_use_.end()) return protocol_error("MQTT5-4.12.0-7");
  if (packet.authentication_method != method->second) return protocol_error("MQTT5-4.12.1-1");
  const std::string_view data = packet.authentication_data.value_or(std::string_view());
  const auto running = reauthentications_.find(connection.ref.connection);
  if (packet.reason == ReasonCode::kReauthenticate && running == reauthentications_.end()) {
    auth::Credentials credentials;
    credentials.client_id = connection.session->client_id.view();
    credentials.listener = connection.listener.name;
    auto exchange = methods_.Create(method->second);
    const auth::AuthStep step = exchange->Start(credentials, data);
    reauthentications_[connection.ref.connection] = std::move(exchange);
    return OnReauthenticationStep(connection, step);
  }
  if (packet.reason == ReasonCode::kContinueAuthentication && running != reauthentications_.end()) {
    return OnReauthenticationStep(connection, running->second->Step(data));
  }
  protocol_error("MQTT5-4.12.0-3");
}

void ConnectFlow::OnReauthenticationStep(Connection& connection, auth::AuthStep step) {
  const std::string method = methods_in_use_[connection.ref.connection];
  const auto send = [&](ReasonCode reason) {
    if (SendAuth(connection, reason, method, step.data, connection.session->packet_size_max))
      return;
    context_.Close(connection,
                   {.cause = CloseCause::kAdministrative, .say = ReasonCode::kPacketTooLarge});
  };
  if (step.kind == auth::AuthStep::Kind::kContinue)
    return send(ReasonCode::kContinueAuthentication);
  reauthentications_.erase(connection.ref.connection);
  Session& session = *connection.session;
  // Another user cannot slip into the session: the name must stay.
  if (step.kind == auth::AuthStep::Kind::kFail || step.user_name != session.user_name()) {
    context_.metrics.auth_failures.Add();
    const ReasonCode reason = ToReason(step.code);
    const bool says = step.kind == auth::AuthStep::Kind::kFail &&
                      mqtt::IsAllowed(reason, mqtt::PacketType::kDisconnect);
    context_.Close(
        connection,  // [MQTT5-4.12.1-2]
        {.cause = CloseCause::kAdministrative, .say = says ? reason : ReasonCode::kNotAuthorized});
    return;
  }
  session.permissions =
      connection.listener.gatekeeper->PermissionsFor(session.IdentityOn(connection.listener.name));
  send(ReasonCode::kSuccess);
}

bool ConnectFlow::SendAuth(Connection& connection, ReasonCode reason, std::string_view method,
                           std::string_view data, uint32_t packet_size_max) {
  mqtt::Auth packet;
  packet.reason = reason;
  packet.authentication_method = method;
  if (data.size() > mqtt::kStringBytesMax) return false;
  if (!data.empty()) packet.authentication_data = data;
  std::string bytes;
  if (!mqtt::Encode(packet, bytes, packet_size_max)) return false;  // [MQTT5-3.1.2-24]
  SendPacket(context_, connection, mqtt::PacketType::kAuth, bytes);
  return true;
}

void ConnectFlow::OnOutcome(Connection& connection, auth::Outcome outcome) {
  PendingConnect& pending = *connection.connecting;
  if (outcome.code != auth::AuthCode::kOk) {
    if (outcome.code != auth::AuthCode::kServerBusy) context_.metrics.auth_failures.Add();
    return Refuse(connection, ToReason(outcome.code), WordsFor(outcome.code), outcome.why);
  }
  pending.session_owner = outcome.session_owner;
  pending.credentials.client_id = outcome.identity.client_id;  // By user name, or with a prefix.
  pending.identity = std::move(outcome.identity);
  pending.permissions = std::move(outcome.permissions);
  if (!CheckNewIdentifier(connection)) return;
  if (!CheckBans(connection, pending.identity.user_name)) return;
  // Nobody could be told later that the will may not be published.
  if (pending.has_will && RightToPublish(*pending.permissions, pending.credentials.client_id,
                                         pending.will.topic) != PublishRight::kPublish) {
    context_.metrics.auth_failures.Add();
    LogRefused(connection, "connection refused", "it may not publish its will", "topic",
               pending.will.topic);
    return SendRefusal(connection, ReasonCode::kNotAuthorized, {}, pending.terms.packet_size_max);
  }
  if (pending.has_will && ask_will_hook) {
    connection.phase = Phase::kAuthenticating;
    pending.will_is_decided = false;
    std::string scratch;
    return ask_will_hook(connection, mqtt::MakeMessage(pending.will, pending.credentials.client_id,
                                                       context_.now_unix_ms, scratch));
  }
  if (AdmitUser(connection)) Open(connection);
}

// It may be longer than the one that came with CONNECT.
bool ConnectFlow::CheckNewIdentifier(Connection& connection) {
  const PendingConnect& pending = *connection.connecting;
  const size_t max = pending.assigned_client_id ? mqtt::kStringBytesMax
                                                : connection.listener.limits.client_id_bytes_max;
  if (pending.credentials.client_id.size() <= max) return true;
  Refuse(connection, ReasonCode::kClientIdentifierNotValid,
         "the Client Identifier that its user name makes is longer than client_id_bytes_max");
  return false;
}

void ConnectFlow::OnWillDecided(Connection& connection, HookAnswer answer) {
  if (connection.phase != Phase::kAuthenticating || connection.connecting->will_is_decided) return;
  PendingConnect& pending = *connection.connecting;
  pending.will_is_decided = true;
  if (answer.kind != HookAnswer::Kind::kGoOn) {
    const bool says = mqtt::IsAllowed(answer.reason, mqtt::PacketType::kConnAck);
    return Refuse(connection, says ? answer.reason : ReasonCode::kNotAuthorized,
                  "the hook of the embedding program refuses its will");
  }
  if (answer.message) {
    const mqtt::MessageParts parts = answer.message->parts();
    const PublishRight right =
        RightToPublish(*pending.permissions, pending.credentials.client_id, parts.topic);
    if (const auto fault = FaultOf(parts, connection.listener.limits, right)) {
      return Refuse(connection, ReasonCode::kNotAuthorized, fault->why);
    }
    pending.will_message = std::move(answer.message);
  }
  if (AdmitUser(connection)) Open(connection);
}

bool ConnectFlow::AdmitUser(Connection& connection) {
  const PendingConnect& pending = *connection.connecting;
  const uint32_t max = connection.listener.limits.user_connections_max;
  if (max == 0 || pending.identity.user_name.empty()) return true;
  UserPlaces::Place place{pending.identity.user_name, pending.credentials.client_id};
  if (users_.Enter(place, max)) {
    user_places_.emplace(connection.ref.connection, std::move(place));
    return true;
  }
  context_.metrics.connections_refused[RefuseCause::kUserConnections].Add();
  Refuse(connection, ReasonCode::kQuotaExceeded, "its user has user_connections_max clients");
  return false;
}

void ConnectFlow::Open(Connection& connection) {
  if (context_.aside) {
    context_.metrics.connections_refused[RefuseCause::kAside].Add();
    return Refuse(connection, ReasonCode::kServerUnavailable,
                  "this node's disk takes nothing, and it leaves clients to the other nodes");
  }
  if (context_.fenced != Fenced::kNobody) return OpenFenced(connection);
  PendingConnect& pending = *connection.connecting;
  connection.phase = Phase::kOpening;
  storage::OpenSession open;
  open.token = context_.NextToken();
  open.connection = connection.ref;
  open.client_id = pending.credentials.client_id;
  open.user_name = pending.identity.user_name;
  open.listener = pending.identity.listener;
  open.only_known = context_.memory_high;
  open.user_sessions_max = connection.listener.limits.user_sessions_max;
  open.of_any_user = pending.session_owner == auth::SessionOwner::kAny;
  open.version = connection.version;
  open.clean_start = pending.clean_start;
  open.expiry_s = pending.terms.session_expiry_s;
  open.window_messages = pending.terms.window_durable;
  open.window_bytes = connection.listener.limits.inflight_bytes_max_durable;
  open.packet_size_max = pending.terms.packet_size_max;
  if (pending.has_will) {
    std::string scratch;
    open.will = pending.will_message
                    ? std::move(pending.will_message)
                    : mqtt::MakeMessage(pending.will, pending.credentials.client_id,
                                        context_.now_unix_ms, scratch);
    open.will_delay_s = pending.will_delay_s;
  }
  pending.claim = open.token;
  opening_[open.token] = {connection.ref.connection};
  asked_.push_back({open.token, context_.now_tick});
  ++fresh_claims_;
  context_.Ask(std::move(open));
}

void ConnectFlow::Forget(storage::Token claim) {
  const auto found = opening_.find(claim);
  if (found == opening_.end()) return;
  if (found->second.fresh) --fresh_claims_;
  opening_.erase(found);
}

void ConnectFlow::AgeClaims() {
  for (; !asked_.empty(); asked_.pop_front()) {
    const auto claim = opening_.find(asked_.front().claim);
    if (claim == opening_.end()) continue;
    if (asked_.front().at_tick + kFreshTicks > context_.now_tick) return;
    claim->second.fresh = false;
    --fresh_claims_;
  }
}

int64_t ConnectFlow::next_aging_ns() const {
  if (asked_.empty()) return INT64_MAX;
  return (int64_t{asked_.front().at_tick} + kFreshTicks - 1) * ShardContext::kTickNs;
}

// Whoever has nothing to be kept is let in without asking. When the nodes are together again each
// Client Identifier gets one owner: the leader hears of all claims.
void ConnectFlow::OpenFenced(Connection& connection) {
  const PendingConnect& pending = *connection.connecting;
  if (context_.fenced == Fenced::kEverybody) {
    context_.metrics.connections_refused[RefuseCause::kNoQuorum].Add();
    return Refuse(connection, ReasonCode::kServerUnavailable,
                  "most nodes of the cluster cannot be reached");
  }
  if (pending.terms.session_expiry_s > 0 || pending.has_will) {
    context_.metrics.connections_refused[RefuseCause::kNoQuorum].Add();
    return Refuse(connection, ReasonCode::kServerUnavailable,
                  "most nodes of the cluster cannot be reached: no session or will can be kept");
  }
  storage::SessionOpened event;
  event.epoch = kLetInEpochs | context_.NextToken();
  Accept(connection, event);
}

void ConnectFlow::OnSessionOpened(storage::SessionOpened event) {
  const auto claim = opening_.find(event.token);
  if (claim == opening_.end())
    return;  // Taken over or closed meanwhile; OnClosed has let go of it.
  Connection* const connection = context_.Find(claim->second.connection);
  Forget(event.token);
  if (connection == nullptr || connection->phase != Phase::kOpening) return;
  if (!event.status.ok()) return OnSessionRefused(*connection, event);
  const uint64_t generation = connection->connecting->access_generation;
  Accept(*connection, event);
  if (context_.aside) return context_.Close(*connection, kCloseAside);
  CloseIfFenced(context_, *connection);
  AskAgain(*connection, generation);
}

void ConnectFlow::OnSessionRefused(Connection& connection, const storage::SessionOpened& event) {
  using storage::OpenRefusal;
  const std::string words(event.status.message());
  const auto [cause, reason] = [&]() -> std::pair<RefuseCause, ReasonCode> {
    switch (event.refusal) {
      case OpenRefusal::kOtherUser:
        return {RefuseCause::kOtherUser, ReasonCode::kNotAuthorized};
      case OpenRefusal::kNewWhileMemoryIsShort:
        return {RefuseCause::kMemory, ReasonCode::kServerBusy};
      case OpenRefusal::kSessionsMax:
        return {RefuseCause::kSessionsMax, ReasonCode::kQuotaExceeded};
      case OpenRefusal::kUserSessionsMax:
        return {RefuseCause::kUserSessionsMax, ReasonCode::kQuotaExceeded};
      case OpenRefusal::kIdentifierFight:
        return {RefuseCause::kIdentifierFight, ReasonCode::kServerBusy};
      case OpenRefusal::kNone:
      case OpenRefusal::kStorage:
        break;
    }
    return {RefuseCause::kStorage, ToReason(event.status)};
  }();
  if (event.refusal == OpenRefusal::kOtherUser) context_.metrics.auth_failures.Add();
  context_.metrics.connections_refused[cause].Add();
  LogRefused(connection, "connection refused", words);
  SendRefusal(connection, reason, words, connection.connecting->terms.packet_size_max);
}

void ConnectFlow::Accept(Connection& connection, storage::SessionOpened& event) {
  const std::unique_ptr<PendingConnect> pending = std::move(connection.connecting);
  const ConnectTerms& terms = pending->terms;
  const Limits& limits = connection.listener.limits;
  const uint16_t window = event.durable ? terms.window_durable : terms.window;
  connection.session = std::make_unique<Session>(connection, pending->credentials.client_id,
                                                 connection.version, limits, window);
  Session& session = *connection.session;
  session.durable = event.durable;
  session.partition = event.partition;
  if (!session.durable) context_.metrics.sessions_transient.Add();
  session.had_will = pending->has_will;
  session.epoch = event.epoch;
  session.session_expiry_s = terms.session_expiry_s;
  session.packet_size_max = terms.packet_size_max;
  session.problem_information = pending->problem_information;
  session.bridge = pending->bridge;
  session.SetIdentity(std::move(pending->identity));
  session.permissions = std::move(pending->permissions);
  if (terms.topic_alias_out > 0)
    session.aliases_out =
        std::make_unique<OutboundTopicAliases>(terms.topic_alias_out, context_.memory());
  for (const uint16_t id : event.inbound_qos2) session.inbound.Restore(id);
  for (const auto& record : event.subscriptions) add_subscription(session, record);

  mqtt::ConnAck ack = AcceptanceFor(terms, limits, event.session_present);
  if (pending->assigned_client_id)
    ack.assigned_client_identifier = session.client_id.view();  // [MQTT5-3.2.2-16]
  if (context_.fenced != Fenced::kNobody) ack.user_properties.push_back(kDegraded);
  std::string response;
  if (pending->response_information && !context_.options.response_information_prefix.empty()) {
    response = context_.options.response_information_prefix + std::string(session.client_id);
    // [MQTT5-3.1.2-28]: it may be left out.
    if (response.size() <= mqtt::kStringBytesMax) ack.response_information = response;
  }
  if (!pending->authentication_method.empty()) {
    ack.authentication_method = pending->authentication_method;  // [MQTT5-4.12.0-5]
    // A method's may be any length.
    if (pending->authentication_data.size() > mqtt::kStringBytesMax)
      return SendRefusal(connection, ReasonCode::kPacketTooLarge, {}, session.packet_size_max);
    if (!pending->authentication_data.empty())
      ack.authentication_data = pending->authentication_data;
    methods_in_use_[connection.ref.connection] = pending->authentication_method;
  }
  std::string bytes;
  // Nothing may come before CONNACK, so a client that cannot be sent it cannot be served.
  if (!mqtt::Encode(ack, connection.version, bytes, session.packet_size_max))
    return SendRefusal(connection, ReasonCode::kPacketTooLarge, {}, session.packet_size_max);
  SendPacket(context_, connection, mqtt::PacketType::kConnAck, bytes);
  connection.phase = Phase::kConnected;
  connection.phase_tick = context_.now_tick;
  connection.keep_alive_s = terms.keep_alive_s;
  connection.last_packet_tick = context_.now_tick;
  connection.counted = true;

  ShardMetrics& metrics = context_.metrics;
  metrics.clients_connected.Add();
  if (metrics.clients_connected.value() > metrics.clients_connected_maximum.value()) {
    metrics.clients_connected_maximum.Set(metrics.clients_connected.value());
  }
  metrics.connects_by_version[static_cast<size_t>(connection.version)].Add();
  metrics.connacks_sent[static_cast<size_t>(ReasonCode::kSuccess)].Add();
  if (base::LogEnabled(base::LogLevel::kDebug)) LogConnected(connection, event.session_present);
  if (context_.observer != nullptr)
    context_.observer->OnConnected(connection, event.session_present);
  context_.Resume(connection, kPauseDeciding);
  if (on_connected) on_connected(connection, event.session_present);
}

void ConnectFlow::Refuse(Connection& connection, ReasonCode reason, std::string_view why,
                         std::string_view words, std::string_view rule) {
  const PendingConnect* const pending = connection.connecting.get();
  if (rule.empty()) {
    LogRefused(connection, "connection refused", why, "details", words);
  } else {
    LogRefused(connection, "connection refused", why, "rule", rule);
  }
  SendRefusal(connection, reason, words,
              pending != nullptr ? pending->terms.packet_size_max : mqtt::kPacketSizeMax);
}

void ConnectFlow::SendRefusal(Connection& connection, ReasonCode reason, std::string_view words,
                              uint32_t packet_size_max) {
  std::string bytes;
  mqtt::EncodeRefusal(connection.version, reason, words, bytes, packet_size_max);
  if (!bytes.empty()) {
    SendPacket(context_, connection, mqtt::PacketType::kConnAck, bytes);
    context_.metrics.connacks_sent[static_cast<size_t>(reason)].Add();
  }
  // Its client never was connected: a will is not for it to leave.
  context_.Close(connection,
                 {.cause = CloseCause::kConnectRefused, .session = storage::CloseCause::kNormal});
}

void ConnectFlow::OnClosed(Connection& connection, storage::CloseCause how) {
  methods_in_use_.erase(connection.ref.connection);
  reauthentications_.erase(connection.ref.connection);
  source_places_.erase(connection.ref.connection);
  if (const auto place = user_places_.find(connection.ref.connection);
      place != user_places_.end()) {
    users_.Leave(place->second);
    user_places_.erase(place);
  }
  if (connection.phase != Phase::kOpening || connection.connecting == nullptr) return;
  Forget(connection.connecting->claim);  // Its answer need not come any more.
  context_.streams.OnAnswer(connection.connecting->claim);
  // The claim may be granted already: this takes it back, whether or not it is. Only the leader
  // that is asked needs to hear of it: the next one is not asked for the claim, and ends whatever
  // is not among what the shard holds, without its will. As long as there is none clients try again
  // and again.
  storage::CloseSession close;
  close.client_id = connection.connecting->credentials.client_id;
  close.connection = connection.ref;
  close.cause = how;
  context_.AskThisLeader(std::move(close));
}

void ConnectFlow::OnTimeout(Connection& connection) {
  switch (connection.phase) {
    case Phase::kExchangingAuth:
      return Refuse(connection, ReasonCode::kNotAuthorized,
                    "its authentication was not complete within broker.connect_timeout");
    case Phase::kAuthenticating:
      context_.metrics.connections_refused[RefuseCause::kUndecided].Add();
      return Refuse(connection, ReasonCode::kServerBusy,
                    "its login was not decided within broker.connect_timeout");
    default:
      context_.metrics.connections_refused[RefuseCause::kUndecided].Add();
      return Refuse(connection, ReasonCode::kServerUnavailable,
                    "the partition of its session did not answer within broker.connect_timeout");
  }
}

}  // namespace broker
