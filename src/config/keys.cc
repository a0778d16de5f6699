// The table itself, struct by struct.
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "broker/core/router.h"
#include "broker/transport/listener_url.h"
#include "config/http_address.h"
#include "config/schema.h"
#include "storage/core/partition_api.h"

namespace config {
namespace {

using auth::AuthOptions;
using auth::HashPool;
using broker::BrokerOptions;
using broker::DrainOptions;
using broker::Limits;
using broker::ListenerOptions;
using broker::ListenerSettings;
using broker::TlsOptions;
using storage::StorageOptions;

constexpr Effect kReload = Effect::kReload;
constexpr Effect kRestart = Effect::kRestart;
constexpr int64_t k16 = std::numeric_limits<uint16_t>::max();
constexpr int64_t k32 = std::numeric_limits<uint32_t>::max();
constexpr int64_t kKiB = 1024;
constexpr int64_t kMiB = 1024 * kKiB;
constexpr int64_t kTiB = kMiB * kMiB;
constexpr int64_t kDay = 86'400;
constexpr int64_t kPacketBytesMax = 268'435'460;  // 2^28 - 1 and the largest fixed header.

// 0 stands for "no bound" in the structs; the configuration says so.
Domain Unlimited(Domain domain) { return Named(std::move(domain), std::string(kUnlimited), 0); }
Domain Off(Domain domain) { return Named(std::move(domain), "off", 0); }

absl::Status CheckUrl(absl::string_view text) {
  return broker::ParseListenerUrl(std::string(text)).status();
}

// As browsers write them (RFC 6454): scheme, host, port if it is not the usual one; "null" for
// pages without any.
absl::Status CheckOrigins(absl::string_view text) {
  if (text.empty()) return absl::OkStatus();
  for (absl::string_view origin : absl::StrSplit(text, ',')) {
    origin = absl::StripAsciiWhitespace(origin);
    const size_t host = origin.find("://");
    const bool whole = host != absl::string_view::npos && host > 0 && host + 3 < origin.size() &&
                       origin.find_first_of("/*?# ", host + 3) == absl::string_view::npos;
    if (!whole && origin != "null")
      return absl::InvalidArgumentError(
          absl::StrCat("\"", origin, "\" is no origin such as https://example.org"));
  }
  return absl::OkStatus();
}

absl::Status CheckHttpAddress(absl::string_view text) {
  return ParseHttpAddress(text, 9883).status();
}
absl::Status CheckAdminAddress(absl::string_view text) {
  return ParseHttpAddress(text, 9884).status();
}

Keys<Limits> CapabilityKeys() {
  return {
      Row("maximum_qos", &Limits::maximum_qos, Integer(0, 2), kReload,
          "Highest QoS at which clients may publish; a PUBLISH above it ends in 0x9B."),
      Row("retain_available", &Limits::retain_available, Bool(), kReload,
          "Whether clients may publish retained messages; if not, they get 0x9A."),
      Row("wildcard_subscription_available", &Limits::wildcard_subscription_available, Bool(),
          kReload,
          "Whether Topic Filters may hold wildcards; if not, 5.0 clients get 0xA2, others SUBACK "
          "0x80."),
      Row("subscription_identifier_available", &Limits::subscription_identifier_available, Bool(),
          kReload, "Whether clients may use Subscription Identifiers; if not, they get 0xA1."),
      Row("shared_subscription_available", &Limits::shared_subscription_available, Bool(), kReload,
          "Whether $share subscriptions are allowed; if not, 5.0 clients get 0x9E, others SUBACK "
          "0x80."),
      Row("receive_maximum", &Limits::receive_maximum, Integer(1, k16), kReload,
          "PUBLISH of QoS 1 and 2 that a client may have unacknowledged. 5.0 clients that send "
          "more "
          "get 0x93; from others reading pauses."),
      Row("maximum_packet_size", &Limits::maximum_packet_size, Bytes(128, kPacketBytesMax), kReload,
          "Largest packet that a client may send, with its fixed header; above: 0x95. Never more "
          "than half of broker.input_bytes_max, and in a cluster 56MiB: what CONNACK tells is what "
          "fits."),
      Row("connect_packet_size_max", &Limits::connect_packet_size_max, Bytes(128, kPacketBytesMax),
          kReload,
          "Largest CONNECT, with will, user name and password; above: 0x95. Small, because nobody "
          "has been let in yet."),
      Row("packet_timeout", &Limits::packet_timeout_s, Seconds(1, kDay), kReload,
          "How long one packet may take to arrive. While bytes of it arrive the client counts as "
          "alive, whatever its Keep Alive; after this time it is disconnected with 0x8D."),
      Row("topic_alias_maximum", &Limits::topic_alias_maximum, Integer(0, k16), kReload,
          "Topic aliases that a client may use; above: 0x94. 0: none."),
      Row("topic_alias_bytes_max", &Limits::topic_alias_bytes_max, Bytes(1, kPacketBytesMax),
          kReload,
          "Bytes of the Topic Names that a client's aliases stand for, together; above: 0x97."),
      Row("server_keep_alive", &Limits::server_keep_alive, Off(Seconds(0, k16)), kReload,
          "Used as Keep Alive instead of what the client asks for."),
      Row("keep_alive_max", &Limits::keep_alive_max, Off(Seconds(0, k16)), kReload,
          "A client that asks for a longer Keep Alive, or for none, is given this."),
      Row("session_expiry_interval_max", &Limits::session_expiry_interval_max,
          Named(Seconds(0, k32), "never", k32), kReload,
          "A client that asks for a longer Session Expiry Interval is given this; also how long "
          "sessions of 3.1.1 clients without clean session are kept."),
  };
}

Keys<Limits> BoundKeys() {
  return {
      Row("topic_alias_maximum_out", &Limits::topic_alias_maximum_out, Integer(0, k16), kReload,
          "Topic aliases that the broker uses towards a client, within the client's own maximum."),
      Row("inflight_messages_max", &Limits::inflight_messages_max, Integer(1, k16), kReload,
          "QoS 1 and 2 messages in flight to a transient session, within its Receive Maximum; more "
          "wait in its queue."),
      Row("inflight_messages_max_durable", &Limits::inflight_messages_max_durable, Integer(1, k16),
          kReload, "The same for a durable session."),
      Row("inflight_bytes_max_durable", &Limits::inflight_bytes_max_durable, Bytes(1, kTiB),
          kReload, "Bytes in flight to a durable session; one message always may be."),
      Row("queue_messages_max", &Limits::queue_messages_max, Integer(1, k32), kReload,
          "Messages that wait for a transient session; above, see queue_full. For durable sessions "
          "see storage.queue_messages_max."),
      Row("queue_bytes_max", &Limits::queue_bytes_max, Bytes(1, kTiB), kReload,
          "Bytes that wait for a transient session; above, see queue_full."),
      ChoiceRow(
          "queue_full", &Limits::queue_full,
          {{broker::QueueFullPolicy::kDropNewest, "drop_newest"},
           {broker::QueueFullPolicy::kDropOldest, "drop_oldest"},
           {broker::QueueFullPolicy::kDisconnect, "disconnect"}},
          kReload,
          "What a transient session's full queue does: drop the new message, drop the oldest, "
          "or disconnect the client with 0x97."),
      Row("output_bytes_max", &Limits::output_bytes_max, Bytes(kKiB, kTiB), kReload,
          "Bytes written for a client that does not read them; above, QoS 0 is dropped and QoS 1 "
          "and 2 wait in the queue."),
      Row("publish_rate_max", &Limits::publish_rate_max, Unlimited(Integer(0, k32)), kReload,
          "PUBLISH packets per second that a client may send; above, see publish_rate_policy. A "
          "second's worth may come at once."),
      Row("publish_bytes_rate_max", &Limits::publish_bytes_rate_max, Unlimited(Bytes(0, kTiB)),
          kReload, "Bytes of PUBLISH packets per second that a client may send; likewise."),
      ChoiceRow(
          "publish_rate_policy", &Limits::publish_rate_policy,
          {{broker::PublishRatePolicy::kPause, "pause"},
           {broker::PublishRatePolicy::kDisconnect, "disconnect"}},
          kReload,
          "What happens to a client above its rate: it is not read from until it is within it "
          "again, or disconnected with 0x96."),
      Row("user_connections_max", &Limits::user_connections_max, Unlimited(Integer(0, k32)),
          kReload,
          "Clients of one user name that are connected at the same time, over all listeners; "
          "further ones get 0x97 (3.1.1: 3). A Client Identifier that connects again counts once. "
          "Clients that connected while there was no limit are not counted."),
      Row("user_sessions_max", &Limits::user_sessions_max, Unlimited(Integer(0, k32)), kReload,
          "Sessions of one user name that are stored (they outlive their connection); a client "
          "that "
          "would make another one gets 0x97 (3.1.1: 3)."),
      Row("client_id_bytes_max", &Limits::client_id_bytes_max, Bytes(1, k16), kReload,
          "Longest Client Identifier; above: 0x85."),
      Row("topic_bytes_max", &Limits::topic_bytes_max, Bytes(1, k16), kReload,
          "Longest Topic Name (above: 0x90) and Topic Filter (above: 0x8F)."),
      Row("topic_levels_max", &Limits::topic_levels_max, Integer(1, k16), kReload,
          "Most levels of a Topic Name (above: 0x90) and Topic Filter (above: 0x8F)."),
      Row("subscriptions_bytes_max", &Limits::subscriptions_bytes_max, Bytes(kKiB, kTiB), kReload,
          "Memory that the subscriptions of one session take, about: three times the filter and "
          "512 "
          "bytes for each; above, SUBACK says 0x97."),
      Row("shared_subscriptions_max", &Limits::shared_subscriptions_max, Integer(1, k32), kReload,
          "$share subscriptions of one session; above, SUBACK says 0x97."),
      Row("subscriptions_max", &Limits::subscriptions_max, Integer(1, k32), kReload,
          "Subscriptions of one session; above, SUBACK says 0x97."),
  };
}

Keys<Limits> LimitKeys() {
  Keys<Limits> keys = CapabilityKeys();
  Append(keys, BoundKeys());
  return keys;
}

// What may differ from listener to listener.
Keys<AuthOptions> ListenerAuthKeys() {
  return {
      Row("allow_anonymous", &AuthOptions::allow_anonymous, Bool(), kReload,
          "Whether clients without user name may connect. Unless set: only if nothing says who "
          "may, "
          "and all listeners are local to this machine."),
      Row("password_file", &AuthOptions::password_file, Path(), kReload,
          "User names and password hashes, in mosquitto's format ($7$, $6$, and $argon2id$). "
          "Empty: "
          "none."),
      Row("acl_file", &AuthOptions::acl_file, Path(), kReload,
          "Who may publish and subscribe to what, in mosquitto's format. Empty: everyone connected "
          "may do everything."),
      ChoiceRow("use_identity_as_username", &AuthOptions::use_identity_as_username,
                {{auth::CertificateIdentity::kNone, "none"},
                 {auth::CertificateIdentity::kCn, "cn"},
                 {auth::CertificateIdentity::kDn, "dn"},
                 {auth::CertificateIdentity::kSan, "san"}},
                kReload,
                "Part of the client's certificate that becomes its user name: common name, whole "
                "subject, or subject alternative name. Then passwords are not looked at. "
                "Also from a PROXY header of version 2 (cn only)."),
      ChoiceRow(
          "session_owner", &AuthOptions::session_owner,
          {{auth::SessionOwner::kUser, "user"}, {auth::SessionOwner::kAny, "any"}}, kReload,
          "Who may connect with the Client Identifier of a session, connected or stored: only "
          "the user who opened it (others get 0x87, in 3.1.1: 5, also with clean start), or "
          "any, who then owns it. A session that an anonymous client opened is taken over by "
          "the next user who comes."),
      Row("use_username_as_clientid", &AuthOptions::use_username_as_clientid, Bool(), kReload,
          "The user name is the Client Identifier, whatever the client sends: one client at a time "
          "for each user. Clients without user name are refused with 0x87 (3.1.1: 5)."),
      Row("clientid_prefixes", &AuthOptions::clientid_prefixes, Text(), kReload,
          "Beginnings, separated by commas, one of which a Client Identifier must have; %u stands "
          "for the user name (put a separator behind it: %u-). Others get 0x85 (3.1.1: 2). A "
          "client "
          "that sends no identifier is given one with the first of them. Empty: any."),
  };
}

Keys<AuthOptions> AuthKeys() {
  Keys<AuthOptions> keys = ListenerAuthKeys();
  keys[0].flag = "--allow-anonymous";
  keys[1].flag = "--password-file";
  keys[2].flag = "--acl-file";
  return keys;
}

// Of all listeners together, whatever users they have.
Keys<HashPool::Limits> HashPoolKeys() {
  return {
      Row("hash_threads", &HashPool::Limits::threads, Integer(1, 64), kRestart,
          "Threads that verify passwords, for all listeners."),
      Row("hash_queue_max", &HashPool::Limits::queue_max, Integer(1, k32), kRestart,
          "Logins that may wait for such a thread. Addresses take turns, and the user names of one "
          "address; when it is full, who has most in it gets 0x89."),
  };
}

Keys<auth::VerifiedLogins::Limits> VerifiedLoginKeys() {
  using Bounds = auth::VerifiedLogins::Limits;
  return {
      Row("verified_logins_max", &Bounds::logins_max, Off(Integer(0, k32)), kRestart,
          "Logins with a password that are remembered after they were verified, as a keyed hash in "
          "memory: a fleet that comes back does not wait for its hashes. Above, the one verified "
          "longest ago is forgotten. A password that was changed is forgotten at once."),
      Row("verified_logins_kept", &Bounds::kept_s, Seconds(1, 30 * kDay), kRestart,
          "How long one is remembered."),
  };
}

Keys<TlsOptions> TlsKeys() {
  using ClientCertificate = TlsOptions::ClientCertificate;
  using MinVersion = TlsOptions::MinVersion;
  return {
      Row("cert_file", &TlsOptions::cert_file, Path(), kReload,
          "The server's certificate, then its intermediates (PEM)."),
      Row("key_file", &TlsOptions::key_file, Path(), kReload,
          "The certificate's private key (PEM, not encrypted)."),
      Row("ca_file", &TlsOptions::ca_file, Path(), kReload,
          "Authorities that may sign clients' certificates (PEM)."),
      Row("crl_file", &TlsOptions::crl_file, Path(), kReload,
          "Revoked certificates (PEM); then every authority of ca_file needs a list in it. Empty: "
          "none."),
      ChoiceRow("client_certificate", &TlsOptions::client_certificate,
                {{ClientCertificate::kOff, "off"},
                 {ClientCertificate::kOptional, "optional"},
                 {ClientCertificate::kRequired, "required"}},
                kReload, "Whether clients are asked for a certificate, and refused without."),
      ChoiceRow("min_version", &TlsOptions::min_version,
                {{MinVersion::kTls12, "1.2"}, {MinVersion::kTls13, "1.3"}}, kReload,
                "Oldest version of TLS that is spoken."),
      Row("ciphers", &TlsOptions::ciphers, Text(), kReload,
          "Cipher list for TLS 1.2, as OpenSSL writes it. Empty: OpenSSL's default."),
      Row("ciphersuites", &TlsOptions::ciphersuites, Text(), kReload, "The same for TLS 1.3."),
  };
}

Key<ListenerSettings> UrlKey() {
  Key<ListenerSettings> key;
  static_cast<KeyInfo&>(key) = {
      "url",
      Text(&CheckUrl),
      kRestart,
      "Where to listen: mqtt://HOST:PORT, mqtts://…, ws://HOST:PORT/PATH, wss://… or unix:/PATH. "
      "HOST is an address, a name, or * for all; port 0 lets the system choose.",
      {}};
  key.get = [](const ListenerSettings& listener) -> Value {
    return listener.listener.url.ToString();
  };
  key.set = [](ListenerSettings& listener, const Value& value) {
    // The domain has checked it.
    listener.listener.url = *broker::ParseListenerUrl(std::get<std::string>(value));
  };
  return key;
}

Keys<ListenerOptions> SocketKeys() {
  return {
      Row("connections_max", &ListenerOptions::connections_max, Unlimited(Integer(0, k32)), kReload,
          "Connections at the same time; further ones are closed at once."),
      Row("connection_rate_max", &ListenerOptions::connection_rate_max, Unlimited(Integer(0, k32)),
          kReload,
          "New connections per second, spread evenly: 20 ms' worth at once, but always one. "
          "Further ones wait in the backlog."),
      Row("address_connections_max", &ListenerOptions::address_connections_max,
          Unlimited(Integer(0, k32)), kReload,
          "Connections from one IPv4 address, or one IPv6 network of 64 bits, at the same time; "
          "further ones are closed at once. Behind a proxy, of the address in its header: CONNACK "
          "0x97."),
      Row("address_connection_rate_max", &ListenerOptions::address_connection_rate_max,
          Unlimited(Integer(0, k32)), kReload,
          "New connections per second from one such address; further ones are closed at once. "
          "Behind a proxy: CONNACK 0x9F."),
      Row("proxy_protocol", &ListenerOptions::proxy_protocol, Bool(), kRestart,
          "Every connection begins with a PROXY header, version 1 or 2. Only behind a proxy: what "
          "the header says is believed."),
      Row("websocket_origins", &ListenerOptions::websocket_origins, Text(&CheckOrigins), kRestart,
          "Over WebSocket: web pages whose scripts may connect, as https://HOST or "
          "https://HOST:PORT, separated by commas; scripts of others get 403. Empty: of any page. "
          "Clients that are no browsers name no page and are not asked for one."),
      Row("backlog", &ListenerOptions::backlog, Integer(1, k16), kRestart,
          "Connections that the system queues until they are accepted."),
      Row("unix_mode", &ListenerOptions::unix_mode, Mode(), kRestart,
          "Permissions of a unix socket."),
  };
}

// tidy: long function: a table, one row for each key.
Keys<BrokerOptions> BrokerKeys() {
  using broker::ShareStrategy;
  return {
      Row("shards", &BrokerOptions::shards, Named(Integer(0, broker::kShardsMax), "auto", 0),
          kRestart, "Threads that serve connections. auto: as many as processors may be used."),
      Row("connections_max", &BrokerOptions::connections_max, Named(Integer(0, k32), "auto", 0),
          kRestart,
          "Connections of all listeners at the same time; further ones are closed at once. auto: "
          "as many as there are file descriptors, but for 1500 (at most a quarter) that the store "
          "needs."),
      Row("memory_high_bytes", &BrokerOptions::memory_high_bytes, Named(Bytes(0, kTiB), "auto", 0),
          kRestart,
          "Memory above which new clients get 0x89, publishers are slowed down, and only a "
          "sixteenth of input_bytes_max, output_bytes_max, queue_messages_max, queue_bytes_max and "
          "topic_alias_bytes_max is kept; until an eighth is free again. Resident memory, or what "
          "mqttd_memory_account_bytes adds up to if that is more. After three seconds above it "
          "those who hold most of it are disconnected with 0x97. auto: three quarters of what the "
          "process may use."),
      Row("input_bytes_max", &BrokerOptions::input_bytes_max, Named(Bytes(0, kTiB), "auto", 0),
          kRestart,
          "Memory for packets that have begun to arrive and are not complete, of all connections "
          "together; while memory is short a sixteenth of it. Above, they are not read any "
          "further, and those that hold most for longest are disconnected with 0x97. auto: a "
          "quarter of memory_high_bytes."),
      Row("connect_timeout", &BrokerOptions::connect_timeout_s, Seconds(1, kDay), kRestart,
          "From accepting a connection to its CONNACK. Without a complete CONNECT by then it is "
          "closed; with one, the client is refused: 0x89 if its login, 0x88 if its session's "
          "partition took longer."),
      Row("arrivals_us_max", &BrokerOptions::arrivals_us_max, Integer(1, 1'000'000), kRestart,
          "Microseconds that a shard gives to new connections (handshakes, CONNECT) before it "
          "serves the others again; at least one of them goes on each time."),
      Row("arrivals_max", &BrokerOptions::arrivals_max, Integer(1, k32), kRestart,
          "New connections of a shard that may wait for that; above, accepting waits until half of "
          "them are served."),
      Row("connects_pending_max", &BrokerOptions::connects_pending_max, Integer(1, k32), kRestart,
          "CONNECTs of a shard that the store works on; further ones wait their turn. One that has "
          "no answer "
          "after a second does not count any more."),
      Row("stall_timeout", &BrokerOptions::stall_timeout_s, Off(Seconds(0, kDay)), kRestart,
          "When a shard has not come to its next task for so long, /healthz says 503, and the "
          "service manager's watchdog is no longer told that all is well."),
      Row("linger_timeout", &BrokerOptions::linger_timeout_s, Seconds(0, kDay), kRestart,
          "How long a connection that is being closed may take to read its DISCONNECT."),
      ChoiceRow("share_strategy", &BrokerOptions::share_strategy,
                {{ShareStrategy::kRoundRobin, "round_robin"},
                 {ShareStrategy::kRandom, "random"},
                 {ShareStrategy::kLeastInFlight, "least_in_flight"},
                 {ShareStrategy::kSticky, "sticky"},
                 {ShareStrategy::kHashClient, "hash_client"},
                 {ShareStrategy::kHashTopic, "hash_topic"}},
                kRestart,
                "Who of a $share group gets a message; connected members go first, those whose "
                "queue is full or that cannot take a message so large last. least_in_flight "
                "compares up to 16 members in turn."),
      Row("sys_interval", &BrokerOptions::sys_interval_s, Off(Seconds(0, kDay)), kRestart,
          "Time between updates of the $SYS topics."),
      Row("commits_pending_max", &BrokerOptions::commits_pending_max, Integer(1, k32), kRestart,
          "Durable requests that a shard has under way; above, reading from publishers pauses."),
      Row("share_groups_max", &BrokerOptions::share_groups_max, Integer(1, k32), kRestart,
          "$share groups of one filter, of all sessions; each message to it goes to one member of "
          "each. Above, SUBACK says 0x97."),
      Row("subscriptions_bytes_max", &BrokerOptions::subscriptions_bytes_max,
          Named(Bytes(0, kTiB), "auto", 0), kRestart,
          "Memory that all subscriptions take together, about, those of sessions without a "
          "connection included; above, SUBACK says 0x97. auto: half of memory_high_bytes."),
      Row("commits_pending_bytes_max", &BrokerOptions::commits_pending_bytes_max, Bytes(1, kTiB),
          kRestart, "Bytes that they carry, messages and targets; likewise."),
      Row("response_information_prefix", &BrokerOptions::response_information_prefix, Text(),
          kRestart,
          "Clients that ask for Response Information get this and their Client Identifier. Empty: "
          "they get none."),
      Row("match_cache_topics_max", &BrokerOptions::match_cache_topics_max, Integer(1, k32),
          kRestart, "Topics whose subscribers a shard remembers."),
      Row("shutdown_timeout", &BrokerOptions::shutdown_timeout_s, Seconds(0, kDay), kRestart,
          "At SIGTERM: how long the last clients may take to read their DISCONNECT before the "
          "process ends."),
  };
}

Keys<DrainOptions> DrainKeys() {
  using Move = DrainOptions::Move;
  return {
      Row("delay", &DrainOptions::delay_s, Seconds(0, kDay), kRestart,
          "How long clients are still accepted after /readyz has begun to answer 503, for load "
          "balancers to look elsewhere."),
      Row("rate", &DrainOptions::rate, Integer(1, k32), kRestart,
          "Clients that are told to go per second; more if they would not all be told within "
          "drain.timeout otherwise. They all come back somewhere: choose what that can take."),
      Row("timeout", &DrainOptions::timeout_s, Seconds(0, kDay), kRestart,
          "How long it takes at most to tell all clients to go."),
      Row("server_reference", &DrainOptions::server_reference, Text(), kRestart,
          "Where 5.0 clients should go instead, as HOST or HOST:PORT, several separated by spaces: "
          "their DISCONNECT has it as Server Reference. Empty: they are told 0x8B, server shutting "
          "down, and nothing else."),
      ChoiceRow("move", &DrainOptions::move,
                {{Move::kForNow, "for_now"}, {Move::kForGood, "for_good"}}, kRestart,
                "With drain.server_reference: for_now, DISCONNECT says 0x9C, use another server; "
                "for_good, 0x9D, server moved."),
  };
}

Keys<StorageOptions> TopLevelStorageKeys() {
  using storage::Durability;
  return {
      Row("data_dir", &StorageOptions::data_dir, Path(), kRestart,
          "Directory of everything that outlives the process; made if it does not exist. One "
          "process at a time."),
      ChoiceRow("durability", &StorageOptions::durability,
                {{Durability::kSync, "sync"},
                 {Durability::kInterval, "interval"},
                 {Durability::kNone, "none"}},
                kRestart,
                "When a message for a durable session is acknowledged. sync: once it is on disk. "
                "interval: at once, synced every durability_interval. none: at once, the system "
                "writes when it likes."),
      Row("durability_interval", &StorageOptions::durability_interval, Millis(1, 60'000), kRestart,
          "With durability: interval, what a power cut may cost."),
  };
}

Keys<StorageOptions> StorageKeys() {
  using storage::LogRecovery;
  using storage::QueueFull;
  return {
      Row("partitions", &StorageOptions::partitions, Integer(1, storage::kPartitionsMax), kRestart,
          "Parts of the store, a power of two. Fixed when the data directory is first used."),
      Row("queue_messages_max", &StorageOptions::queue_messages_max, Unlimited(Integer(0, kTiB)),
          kRestart, "Messages in a durable session's queue, in flight included; see queue_full."),
      Row("queue_bytes_max", &StorageOptions::queue_bytes_max, Unlimited(Bytes(0, kTiB)), kRestart,
          "Bytes in a durable session's queue; see queue_full."),
      ChoiceRow(
          "queue_full", &StorageOptions::queue_full,
          {{QueueFull::kDropNewest, "drop_newest"},
           {QueueFull::kDropOldest, "drop_oldest"},
           {QueueFull::kRefuse, "refuse"},
           {QueueFull::kDisconnect, "disconnect"}},
          kRestart,
          "What a durable session's full queue does: drop the new message, or the oldest that "
          "is not in flight; refuse the message to its publisher, for everyone it is for (0x97; "
          "the connection of a 3.1.1 publisher is closed without an acknowledgement), and have "
          "what was accepted before, wills too, wait for room, with what its publisher sends at "
          "QoS 2 behind it; or drop the new message and disconnect the client (0x97), if it is "
          "connected."),
      Row("sessions_max", &StorageOptions::sessions_max, Unlimited(Integer(0, kTiB)), kRestart,
          "Sessions that are stored, connected or not; see sessions_full."),
      ChoiceRow(
          "sessions_full", &StorageOptions::sessions_full,
          {{storage::SessionsFull::kRefuse, "refuse"},
           {storage::SessionsFull::kEndOldest, "end_oldest"}},
          kRestart,
          "What happens at sessions_max when a client comes that has no session yet and wants "
          "one. The session that holds nothing (no subscription, message or will) and whose "
          "client is away longest ends for it. If there is none: the client is refused with "
          "0x97 (3.1.1: 3), or the session whose client is away longest ends. Clients that "
          "have a session always get it."),
      Row("retained_messages_max", &StorageOptions::retained_messages_max,
          Unlimited(Integer(0, kTiB)), kRestart, "Retained messages of all topics; above: 0x97."),
      Row("retained_bytes_max", &StorageOptions::retained_bytes_max, Unlimited(Bytes(0, kTiB)),
          kRestart, "Bytes of all retained messages; above: 0x97."),
      Row("min_free_disk_bytes", &StorageOptions::min_free_disk_bytes, Off(Bytes(0, kTiB)),
          kRestart, "With less than this free on the disk nothing more is stored."),
      Row("log_kept_bytes", &StorageOptions::log_kept_bytes, Bytes(0, kTiB), kRestart,
          "In a cluster: what the logs keep for nodes that are away and lack it, all partitions "
          "together. A node that lacks more cannot catch up any more. 0: a quarter of the disk, or "
          "half of what all else leaves free at the start if that is less."),
      Row("takeover_pause_max", &StorageOptions::takeover_pause_max, Off(Millis(0, 2'000)),
          kRestart,
          "Clients that connect with the same Client Identifier disconnect each other, and if they "
          "reconnect at once, for ever. After five such takeovers in ten seconds each next one "
          "waits for its CONNACK, twice as long each time, up to this."),
      Row("state_pending_bytes", &StorageOptions::state_pending_bytes, Bytes(0, kTiB), kRestart,
          "Queued messages in the log and in memory, not yet in the state, so that those that are "
          "acknowledged soon are never written there; all sessions together."),
      Row("state_memtable_bytes", &StorageOptions::state_memtable_bytes, Bytes(kMiB, kTiB),
          kRestart, "State in memory before it is written out."),
      Row("log_memtable_bytes", &StorageOptions::log_memtable_bytes, Bytes(kMiB, kTiB), kRestart,
          "Log in memory before it is written out, and about what a start after a crash replays "
          "at most; best above state_memtable_bytes."),
      Row("block_cache_bytes", &StorageOptions::block_cache_bytes, Bytes(0, kTiB), kRestart,
          "Memory for reading queues that wait on disk."),
      ChoiceRow("log_recovery", &StorageOptions::log_recovery,
                {{LogRecovery::kStrict, "strict"}, {LogRecovery::kSalvage, "salvage"}}, kRestart,
                "At a damaged log: refuse to start, or keep what stands before the damage and lose "
                "the rest. A node of a cluster always refuses."),
  };
}

Keys<HttpOptions> HttpKeys() {
  Keys<HttpOptions> keys = {
      Row("listen", &HttpOptions::listen, Text(&CheckHttpAddress), kRestart,
          "ADDRESS:PORT of the endpoint for metrics and health checks, or off. It knows no users: "
          "keep it where only operators can reach it."),
      Row("connections_max", &HttpOptions::connections_max, Integer(1, k16), kRestart,
          "Connections at the same time. A further one takes the place of the one that has been "
          "open "
          "for longest without a request, or is closed."),
      Row("request_timeout", &HttpOptions::request_timeout_s, Seconds(1, kDay), kRestart,
          "How long a request, and its answer, may take."),
      Row("api", &HttpOptions::api, Bool(), kRestart,
          "Serve the admin API here too, as JSON below /api/v1, unless admin.listen is off. Who "
          "may "
          "call it admin.access_file says, by tokens; without one only processes of the machine "
          "itself. There is no TLS: from elsewhere tokens come unencrypted."),
  };
  keys[0].flag = "--http";
  return keys;
}

Keys<AdminOptions> AdminKeys() {
  Keys<AdminOptions> keys = {
      Row("listen", &AdminOptions::listen, Text(&CheckAdminAddress), kRestart,
          "ADDRESS:PORT of the admin API (gRPC), by which mqttctl sees and steers the broker, or "
          "off. On a loopback address everybody on the machine may do everything unless "
          "access_file or ca_file is set; on any other address one of them must be. If it is not "
          "set and another process has the default port, the broker says so and goes on without."),
      Row("access_file", &AdminOptions::access_file, Path(), kReload,
          "Who may call the admin API, and do what: a line each, \"token NAME ROLE TOKEN\" or "
          "\"certificate COMMON-NAME ROLE\"; the role is viewer, operator or admin. Instead of a "
          "token its hash may stand there: sha256:HEX."),
      Row("cert_file", &AdminOptions::cert_file, Path(), kRestart,
          "Certificate chain of the admin API (PEM): with it and key_file it is served with TLS. "
          "The files are read again when they change."),
      Row("key_file", &AdminOptions::key_file, Path(), kRestart, "Private key of cert_file (PEM)."),
      Row("ca_file", &AdminOptions::ca_file, Path(), kReload,
          "Who may sign callers' certificates (PEM). Without an access_file each holder of such a "
          "certificate is admin; with one the roles are there, by common name."),
      Row("calls_max", &AdminOptions::calls_max, Integer(1, k16), kRestart,
          "Calls of the admin API under way at the same time, by gRPC and HTTP together. Further "
          "ones are refused."),
      Row("streams_max", &AdminOptions::streams_max, Integer(1, k16), kRestart,
          "Streams of the admin API at the same time, such as of mqttctl topic watch. Further ones "
          "are refused."),
  };
  keys[0].flag = "--admin";
  return keys;
}

absl::Status CheckNodeAddress(absl::string_view text) {
  if (text.empty()) return absl::OkStatus();
  const size_t colon = text.rfind(':');
  uint32_t port = 0;
  if (colon == 0 || colon == absl::string_view::npos ||
      !absl::SimpleAtoi(text.substr(colon + 1), &port) || port > k16)
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is no HOST:PORT such as 10.0.0.5:9885"));
  return absl::OkStatus();
}

absl::Status CheckSeeds(absl::string_view text) {
  if (text.empty()) return absl::OkStatus();
  for (const absl::string_view seed : absl::StrSplit(text, ',')) {
    const absl::string_view one = absl::StripAsciiWhitespace(seed);
    if (one.empty()) return absl::InvalidArgumentError("there is nothing between two commas");
    if (absl::Status status = CheckNodeAddress(one); !status.ok()) return status;
  }
  return absl::OkStatus();
}

Keys<ClusterOptions> ClusterKeys() {
  Keys<ClusterOptions> keys = {
      Row("listen", &ClusterOptions::listen, Text(&CheckNodeAddress), kRestart,
          "ADDRESS:PORT where this node listens for the others of its cluster; usual is port 9885. "
          "Empty: the node is alone."),
      Row("seeds", &ClusterOptions::seeds, Text(&CheckSeeds), kRestart,
          "Where other nodes may be: HOST:PORT, with commas between. One that answers is enough, "
          "and the node's own address may be among them, so all nodes can have the same list."),
      Row("expected_size", &ClusterOptions::expected_size, Integer(0, 64), kRestart,
          "So many nodes found the cluster together, when that many have found each other; the "
          "same "
          "on all of them. 0: this node founds none, it joins one that is there; without seeds it "
          "waits to be told where (mqttctl cluster join). Without meaning "
          "once the node belongs to a cluster."),
      Row("advertise", &ClusterOptions::advertise, Text(&CheckNodeAddress), kRestart,
          "HOST:PORT under which the other nodes reach this one, if that is not cluster.listen."),
      Row("dns", &ClusterOptions::dns, Text(), kRestart,
          "A name instead of seeds: HOST:PORT, of which each address (A, AAAA) is asked, or "
          "_SERVICE._PROTOCOL.NAME of SRV records."),
      Row("replicas", &ClusterOptions::replicas, Integer(1, 7), kRestart,
          "How many nodes have what is stored: of three one may be lost, of five two. As the "
          "cluster was founded."),
      Row("serve_without_quorum", &ClusterOptions::serve_without_quorum, Bool(), kRestart,
          "Serve clients without a session or a will, as well as this node can, while most nodes "
          "of "
          "the cluster cannot be reached: /readyz, the log, mqttd_cluster_lease and a User "
          "Property "
          "of CONNACK (mqttd-degraded) say so. With no they are closed and refused like all "
          "others, and /readyz is 503."),
      Row("zone", &ClusterOptions::zone, Text(), kRestart,
          "Where the node is (a rack, a data centre): replicas are spread over zones."),
      Row("cert_file", &ClusterOptions::cert_file, Path(), kRestart,
          "Certificate of this node (PEM), for TLS between nodes, both ways; with key_file and "
          "ca_file. It has to name the host under which the node is reached."),
      Row("key_file", &ClusterOptions::key_file, Path(), kRestart,
          "Private key of cert_file (PEM)."),
      Row("ca_file", &ClusterOptions::ca_file, Path(), kRestart,
          "Who signs the certificates of nodes (PEM). Whoever has one of these can read and write "
          "all messages."),
      Row("allow_plaintext", &ClusterOptions::allow_plaintext, Bool(), kRestart,
          "Nodes may talk without TLS on an address that is not loopback. Whoever reaches the port "
          "can then read and write all messages: only in a network of their own."),
  };
  keys[0].flag = "--cluster";
  keys[1].flag = "--join";
  keys[2].flag = "--expected-size";
  return keys;
}

Keys<base::LogOptions> LogKeys() {
  using base::LogFormat;
  using base::LogLevel;
  using base::LogOptions;
  return {
      ChoiceRow("level", &LogOptions::level,
                {{LogLevel::kDebug, "debug"},
                 {LogLevel::kInfo, "info"},
                 {LogLevel::kWarning, "warning"},
                 {LogLevel::kError, "error"},
                 {LogLevel::kOff, "off"}},
                kReload, "The least important events that are still written."),
      ChoiceRow("format", &LogOptions::format,
                {{LogFormat::kText, "text"}, {LogFormat::kJson, "json"}}, kReload,
                "Lines for people, or one JSON object per line."),
      Row("file", &LogOptions::file, Path(), kReload,
          "Where to write; SIGHUP opens it again, for rotation. Empty: the standard error stream."),
  };
}

Keys<Config> BuildConfigKeys() {
  constexpr DrainOptions BrokerOptions::*kDrain = &BrokerOptions::drain;
  Keys<Config> keys;
  Append(keys, Within("", &Config::storage, TopLevelStorageKeys()));
  Append(keys, Within("tls", &Config::tls, TlsKeys()));
  Append(keys, Within("auth", &Config::auth, AuthKeys()));
  Append(keys,
         Within("auth", &Config::broker, Within("", &BrokerOptions::hash_pool, HashPoolKeys())));
  Append(keys, Within("auth", &Config::broker,
                      Within("", &BrokerOptions::verified_logins, VerifiedLoginKeys())));
  Append(keys, Within("mqtt", &Config::mqtt, LimitKeys()));
  Append(keys, Within("broker", &Config::broker, BrokerKeys()));
  Append(keys, Within("drain", &Config::broker, Within("", kDrain, DrainKeys())));
  Append(keys, Within("storage", &Config::storage, StorageKeys()));
  Append(keys, Within("http", &Config::http, HttpKeys()));
  Append(keys, Within("admin", &Config::admin, AdminKeys()));
  Append(keys, Within("cluster", &Config::cluster, ClusterKeys()));
  Append(keys, Within("log", &Config::log, LogKeys()));
  return keys;
}

Keys<ListenerSettings> BuildListenerKeys() {
  Keys<ListenerSettings> keys = {UrlKey(),
                                 Row("name", &ListenerSettings::name, Text(), kRestart,
                                     "For logs, metrics and access rules. Empty: the URL.")};
  Append(keys, Within("", &ListenerSettings::listener, SocketKeys()));
  Append(keys,
         Within("", &ListenerSettings::listener, Within("", &ListenerOptions::tls, TlsKeys())));
  Append(keys, Within("", &ListenerSettings::auth, ListenerAuthKeys()));
  Append(keys, Within("mqtt", &ListenerSettings::limits, LimitKeys()));
  return keys;
}

}  // namespace

const Keys<Config>& ConfigKeys() {
  static const auto* const keys = new Keys<Config>(BuildConfigKeys());
  return *keys;
}

const Keys<ListenerSettings>& ListenerKeys() {
  static const auto* const keys = new Keys<ListenerSettings>(BuildListenerKeys());
  return *keys;
}

const std::vector<Section>& Sections() {
  static const auto* const sections = new std::vector<Section>{
      {"", "What is stored, and how safely."},
      {"tls", "Defaults for all listeners with TLS; each may have its own."},
      {"auth", "Who may connect, and do what; defaults for all listeners."},
      {"mqtt",
       "Limits towards one client, told to it where MQTT has words for them; defaults for "
       "all listeners."},
      {"broker", "How the broker works inside."},
      {"drain", "How clients are sent away before the process ends (SIGTERM, SIGUSR1)."},
      {"storage", "Durable sessions and retained messages."},
      {"http", "The endpoint for metrics and health checks."},
      {"admin", "The admin API, for mqttctl and other programs."},
      {"cluster", "Several nodes as one broker."},
      {"log", "What the broker writes about itself."},
  };
  return *sections;
}

}  // namespace config
