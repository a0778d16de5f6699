#include "broker/shard/shard_core.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/by_name.h"
#include "base/log.h"
#include "broker/shard/access_refresh.h"
#include "broker/shard/fence.h"
#include "broker/shard/packet_output.h"
#include "broker/shard/refusals.h"
#include "mqtt/encode.h"

namespace broker {
namespace {

constexpr size_t kReadBytes = 64 * 1024;
constexpr size_t kReadBytesWhileFull = 4 * 1024;  // There is no room for half-sent packets.
constexpr int kReadsPerVisit = 4;                 // Then others have their turn.
constexpr size_t kFlushAfterBytes = 16 * 1024;
// Requests come in batches of about one size: there is room for the next, but not for a flood.
constexpr size_t kRequestsExpectedMax = 64;

}  // namespace

Connection::Connection(storage::ConnectionRef r, std::unique_ptr<Stream> s, const ListenerTerms& l)
    : ref(r), stream(std::move(s)), listener(l) {}
Connection::~Connection() = default;

ShardCore::ShardCore(storage::ShardId shard_id, uint32_t count, ShardWorld& world,
                     ShardMetrics& shard_metrics, ShardPort& port, base::Rng chance)
    : ShardContext(shard_id, count, *world.options, world.partition_count, shard_metrics,
                   std::move(chance), world.forwarder),
      world_(world),
      port_(port),
      deliverer_(*this),
      acknowledger_(*this),
      publishing_(*this, deliverer_, acknowledger_),
      subscribing_(*this, deliverer_, acknowledger_),
      delivering_(*this, deliverer_, subscribing_),
      connecting_(*this, *world.methods, *world.user_places),
      arrivals_({.round_ns = int64_t{world.options->arrivals_us_max} * 1000,
                 .waiting_max = world.options->arrivals_max,
                 .answers_max = world.options->connects_pending_max}),
      memory_(*this, world.metrics),
      read_buffer_(kReadBytes) {
  for (const auto& terms : world.listeners) UseListener(terms);
  if (forwarder != nullptr)
    nodes_ = std::make_unique<NodeFlow>(*this, publishing_, world.node, world.incarnation);
  permissions_of = world.permissions_of;
  connecting_.add_subscription = [this](Session& session,
                                        const storage::SubscriptionRecord& record) {
    subscribing_.AddStored(session, record);
  };
  deliverer_.hand_on = [this](mqtt::MessagePtr message, std::string_view shared_filter) {
    publishing_.HandOn(std::move(message), shared_filter, {});
  };
  acknowledger_.write_answer = [this](Connection& connection) {
    subscribing_.WriteAnswer(connection);
  };
  if (world.hooks.any != nullptr) {
    hooking_ =
        std::make_unique<HookFlow>(*this, connecting_, publishing_, subscribing_, world.hooks);
    idle_ticks_ = hooking_->idle_ticks();
    connecting_.on_connected = [this](Connection& connection, bool session_present) {
      hooking_->OnConnected(connection, session_present);
    };
    if (world.hooks.deliver != nullptr) {
      ask_deliver_hook = [this](const Session& session, const mqtt::MessageParts& message) {
        return hooking_->MayHave(session, message);
      };
    }
  }
  ReadClocks();
}

ShardCore::~ShardCore() = default;

void ShardCore::UseListener(std::shared_ptr<const ListenerTerms> terms) {
  const size_t index = terms->index;
  listeners[index] = std::move(terms);
}

void ShardCore::RefreshPermissions() {
  for (const auto& [number, connection] : connections)
    (void)broker::RefreshPermissions(*this, *connection);
  RenewReaders(*this);
}

void ShardCore::PublishSysTopics() {
  const auto values = world_.sys_topics();
  for (uint32_t shard = 0; shard < shards; ++shard)
    Send(static_cast<storage::ShardId>(shard), SysTopics{values});
}

void ShardCore::ShutDown(std::optional<absl::Duration> timeout) {
  constexpr absl::Duration kLongest = absl::Hours(24 * 365);  // Ticks are counted in 32 bits.
  const auto ticks =
      timeout.has_value()
          ? static_cast<uint32_t>(std::min(*timeout, kLongest) / absl::Nanoseconds(kTickNs)) + 1
          : (options.shutdown_timeout_s + 1) * kTicksPerSecond;
  shutdown_deadline_tick_ = now_tick + ticks;
  if (ticks == 1) tick_due_ns_ = std::min(tick_due_ns_, int64_t{now_tick} * kTickNs);
  drain.Begin(1);
  drain.TellAll();
}

void ShardCore::ReadClocks() {
  now_ns = world_.clock->MonotonicNs();
  now_tick = static_cast<uint32_t>(now_ns / kTickNs) + 1;  // Never 0: that means "not filed".
  if (world_.timeline != nullptr) now_unix_ms = world_.timeline->UnixMs(now_ns);
}

void ShardCore::OnTick() {
  wheel_.Advance(now_tick, [this](uint64_t number, uint32_t at_tick) {
    Connection* const connection = Find(number);
    if (connection == nullptr || connection->filed_tick != at_tick) return;
    connection->filed_tick = 0;
    const uint32_t deadline = DeadlineOf(*connection);
    if (deadline == 0) return;
    if (deadline > now_tick) return wheel_.File(*connection, deadline);
    OnDeadline(*connection);
  });
  if (id == 0 && world_.sys_topics != nullptr && now_tick >= next_sys_tick_) {
    next_sys_tick_ = InTicks(options.sys_interval_s);
    PublishSysTopics();
  }
  if (shutdown_deadline_tick_ != 0 && now_tick >= shutdown_deadline_tick_) {
    std::vector<Connection*> late;
    for (const auto& [number, connection] : connections) late.push_back(connection.get());
    for (Connection* const connection : late) Bury(*connection);
  }
  memory_.OnTick();
  if (hooking_ != nullptr) hooking_->OnTick();
  // When the next of them is due, to the tick; once a second for everything else.
  const uint32_t next_tick = memory_.anyone_starves() ? now_tick + 1 : wheel_.Next(kTicksPerSecond);
  tick_due_ns_ = int64_t{next_tick - 1} * kTickNs;
}

int64_t ShardCore::due_ns() const {
  int64_t due_ns = std::min(tick_due_ns_, drain.due_ns());
  if (arrivals_.waiting() != 0) due_ns = std::min(due_ns, connecting_.next_aging_ns());
  return throttled_.empty() ? due_ns : std::min(due_ns, throttled_.next_ns());
}

bool ShardCore::OnTimer() {
  ReadClocks();
  ResumeThrottled();
  drain.GoOn();
  if (now_ns < tick_due_ns_) return false;
  OnTick();
  return true;
}

void ShardCore::ResumeThrottled() {
  throttled_.TakeDue(now_ns, [this](uint64_t number) {
    if (Connection* const connection = Find(number)) Resume(*connection, kPauseThrottle);
  });
}

namespace {

// When a packet that has begun must be complete; 0: none has.
uint32_t PacketDeadlineOf(const Connection& connection) {
  if (!connection.stash.half_sent()) return 0;
  return connection.stash.begun_tick() +
         connection.listener.limits.packet_timeout_s * ShardContext::kTicksPerSecond;
}

// Of two ticks, where 0 is never.
uint32_t Earlier(uint32_t a, uint32_t b) {
  if (a == 0 || b == 0) return a + b;
  return std::min(a, b);
}

}  // namespace

uint32_t ShardCore::DeadlineOf(const Connection& connection) const {
  if (connection.phase != Phase::kConnected) return connection.phase_tick;
  const uint32_t packet = PacketDeadlineOf(connection);
  // [MQTT5-3.1.2-22] [MQTT311-3.1.2-24]: one and a half times.
  const uint32_t silence =
      connection.keep_alive_s == 0
          ? 0
          : connection.last_packet_tick + connection.keep_alive_s * kTicksPerSecond * 3 / 2 + 1;
  const uint32_t end = Earlier(packet, silence);
  if (idle_ticks_ == 0 || connection.idle) return end;
  return Earlier(end, connection.last_packet_tick + idle_ticks_);
}

void ShardCore::OnDeadline(Connection& connection) {
  if (connection.phase == Phase::kLingering) return Bury(connection);
  if (connection.connecting != nullptr) return connecting_.OnTimeout(connection);
  if (connection.phase != Phase::kConnected)
    return Close(connection, {.cause = CloseCause::kConnectTimeout});
  if (connection.pauses != 0) {  // It is we who do not listen.
    connection.last_packet_tick = now_tick;
    memory_.input().Restart(connection.stash, now_tick);
    return wheel_.File(connection, DeadlineOf(connection));
  }
  // After a standstill of ours (a stopped process, a moved machine) what it sent lies in the
  // kernel.
  Read(connection);
  if (connection.phase != Phase::kConnected) return;
  if (const uint32_t deadline = DeadlineOf(connection); deadline > now_tick)
    return wheel_.File(connection, deadline);
  if (idle_ticks_ != 0 && !connection.idle &&
      connection.last_packet_tick + idle_ticks_ <= now_tick) {
    hooking_->OnIdle(connection);
    const uint32_t next = DeadlineOf(connection);
    if (next == 0) return;
    if (next > now_tick) return wheel_.File(connection, next);
  }
  const uint32_t packet = PacketDeadlineOf(connection);
  const bool slow = packet != 0 && packet <= now_tick;
  Close(connection, {.cause = slow ? CloseCause::kPacketTimeout : CloseCause::kKeepAliveTimeout,
                     .say = mqtt::ReasonCode::kKeepAliveTimeout});
}

// Several shards that look at the same moment may let in one too many each.
bool ShardCore::IsFull() const {
  int64_t open = 0;
  for (const ShardMetrics* const shard : world_.metrics) open += shard->connections.value();
  return open >= int64_t{options.connections_max};
}

void ShardCore::Accept(std::unique_ptr<Stream> stream, size_t listener) {
  const auto found = listeners.find(listener);
  if (found == listeners.end()) return;  // Closed since the connection was handed over.
  const ListenerTerms& terms = *found->second;
  const auto refuse = [&](RefuseCause cause, absl::string_view why) {
    metrics.connections_refused[cause].Add();
    const PeerInfo peer = stream->peer();
    base::LogLimited(base::LogLevel::kInfo, "connection refused", why,
                     {{"address", peer.address}, {"port", peer.port}, {"listener", terms.name}});
  };
  // Taken in by another shard just before.
  if (drain.begun()) return refuse(RefuseCause::kDraining, "the server is stopping");
  if (IsFull())
    return refuse(RefuseCause::kConnectionsMax, "broker.connections_max connections are open");
  const uint64_t number = ++last_connection_;
  const storage::ConnectionRef ref = {
      .node = world_.node, .shard = id, .incarnation = world_.incarnation, .connection = number};
  auto owned = std::make_unique<Connection>(ref, std::move(stream), terms);
  Connection& connection = *owned;
  if (const absl::Status status = port_.Watch(connection); !status.ok()) {
    base::LogLimited(base::LogLevel::kWarning, "connection dropped", "it cannot be watched",
                     {{"listener", terms.name}, {"error", status}});
    metrics.connections_refused[RefuseCause::kMemory].Add();
    return;
  }
  TermsInUse& used = terms_in_use[&terms];
  used.terms = found->second;
  ++used.connections;
  connections.emplace(number, std::move(owned));
  connection_numbers.insert(connection_numbers.end(), number);
  metrics.connections.Add();
  metrics.connections_opened.Add();
  if (terms.tls) metrics.connections_tls.Add();
  if (terms.websocket) metrics.connections_websocket.Add();
  if (hooking_ != nullptr) hooking_->OnAccepted(connection);
  connection.phase_tick = InTicks(options.connect_timeout_s);
  wheel_.File(connection, connection.phase_tick);
}

void ShardCore::BeginTurn() {
  ReadClocks();
  turn_began_ns_ = now_ns;
  rounds_ = 0;
  metrics.turns.Add();
  if (world_.lease == nullptr) return;
  if (FenceByLease(*this, *world_.lease, world_.clock->SinceBoot())) CloseAll();
}

void ShardCore::OnReady(Connection& connection, Readiness readiness) {
  if (connection.phase == Phase::kClosed) return;
  if (readiness.gone) connection.peer_closed = true;
  if (readiness.writable && connection.output_blocked) {
    connection.output_blocked = false;
    MarkDirty(connection);
  }
  if (readiness.readable) Visit(connection);
}

void ShardCore::VisitAgain(Connection& connection) {
  if (connection.again_place != Connection::kNotListed) return;
  connection.again_place = static_cast<uint32_t>(again_.size());
  again_.push_back(&connection);
}

// Those of earlier rounds. Who still has more is listed anew.
void ShardCore::ReadAgain() {
  for (size_t i = 0; i < again_listed_; ++i) {
    Connection* const connection = std::exchange(again_[i], nullptr);
    if (connection == nullptr) continue;
    connection->again_place = Connection::kNotListed;
    Visit(*connection);
  }
  if (again_listed_ != 0) {
    size_t kept = 0;
    for (Connection* const connection : again_) {
      if (connection == nullptr) continue;
      connection->again_place = static_cast<uint32_t>(kept);
      again_[kept++] = connection;
    }
    again_.resize(kept);
  }
  // A turn under load is long: what comes late in it is not stamped as of its beginning, or a
  // client would seem silent for longer than it was. Most turns have one round and read the clocks
  // once.
  if (++rounds_ > 1) ReadClocks();
  routes_came_.exchange(false, std::memory_order_acquire);  // And with it what was posted before.
}

namespace {

bool IsBeingDecided(const Connection& connection) {
  return connection.phase == Phase::kAuthenticating || connection.phase == Phase::kOpening;
}

}  // namespace

void ShardCore::Visit(Connection& connection) {
  if (connection.phase == Phase::kClosed) return;
  if (connection.phase == Phase::kLingering) return Discard(connection);
  if (IsBeingDecided(connection) && connection.peer_closed) return OnGoneBeforeLogin(connection);
  if (connection.pauses != 0) return;  // `Resume` reads what is there then.
  if (connection.phase == Phase::kAwaitingConnect) return Arrive(connection);
  if (connection.idle) {
    hooking_->OnAwake(connection);
    wheel_.File(connection, now_tick + idle_ticks_);
  }
  Read(connection);
}

// It is read from at the end of the round, or of a later one.
void ShardCore::Arrive(Connection& connection) {
  if (connection.arriving) return;
  connection.arriving = true;
  arrivals_.Push(connection.ref.connection);
}

void ShardCore::ServeArrivals() {
  connecting_.AgeClaims();
  arrivals_.ServeRound(
      [this] { return world_.clock->MonotonicNs(); }, [this] { return connecting_.opening(); },
      [this](uint64_t number) {
        Connection* const connection = Find(number);
        if (connection == nullptr) return;
        connection->arriving = false;
        if (connection->phase == Phase::kAwaitingConnect && connection->pauses == 0)
          Read(*connection);
      });
  metrics.arrivals_waiting.Set(static_cast<int64_t>(arrivals_.waiting()));
  switch (arrivals_.Decide()) {
    case Arrivals::Door::kAsBefore:
      break;
    case Arrivals::Door::kClose:
      metrics.accept_holds.Add();
      port_.HoldAcceptors(true);
      break;
    case Arrivals::Door::kOpen:
      port_.HoldAcceptors(false);
      break;
  }
}

void ShardCore::Read(Connection& connection) {
  if (connection.resumed) {  // First what came while reading was paused, any number of packets.
    connection.resumed = false;
    if (!connection.stash.empty() && !connection.stash.half_sent()) {
      const InputBuffer stashed = memory_.input().Take(connection.stash);
      Consume(connection, stashed.bytes().data(), stashed.size());
    }
    if (connection.phase == Phase::kLingering || connection.phase == Phase::kClosed) return;
    if (connection.pauses != 0) return;
  }
  for (int i = 0; i < kReadsPerVisit; ++i) {
    const size_t room = memory_.input_full() ? kReadBytesWhileFull : read_buffer_.size();
    const ReadResult result = connection.stream->Read(read_buffer_.data(), room);
    if (result.state == IoState::kAgain) {
      if (connection.stream->HasBufferedInput()) break;
      return;
    }
    if (result.state != IoState::kOk) return OnReadFailed(connection, result.state);
    // What was sent may follow from what another shard has told its clients.
    if (routes_came_.load(std::memory_order_relaxed)) {
      routes_came_.exchange(false, std::memory_order_acquire);
      port_.TakeMail();
      if (connection.phase == Phase::kLingering || connection.phase == Phase::kClosed) return;
    }
    Consume(connection, reinterpret_cast<const uint8_t*>(read_buffer_.data()), result.bytes);
    // Large output is written while it is in the cache, and its chunks serve the next read.
    if (result.bytes >= kFlushAfterBytes) FlushAll();
    if (connection.phase == Phase::kLingering || connection.phase == Phase::kClosed) return;
    if (connection.pauses != 0) {
      // Its end may have come together with CONNECT; no event will tell of it again.
      if (IsBeingDecided(connection) && connection.peer_closed) OnGoneBeforeLogin(connection);
      return;
    }
    const bool more = result.bytes == room || connection.stream->HasBufferedInput();
    if (!more && !connection.peer_closed) return;
  }
  VisitAgain(connection);
}

void ShardCore::OnReadFailed(Connection& connection, IoState state) {
  const Stream& stream = *connection.stream;
  const bool broken = state == IoState::kError && !stream.HandshakeDone();
  if (broken) {
    LogRefused(connection, "connection failed", "TLS, WebSocket or PROXY handshake went wrong",
               "error", stream.error());
  } else if (state == IoState::kError &&
             (connection.listener.tls || connection.listener.websocket)) {
    LogRefused(connection, "connection failed", "TLS or WebSocket went wrong", "error",
               stream.error());
  }
  Close(connection, {.cause = broken ? CloseCause::kTransportError : CloseCause::kPeerClosed});
}

// The peer has closed while its password waits to be verified, or its partition to answer. Unless
// it had more to say (a client may publish and leave without reading CONNACK), nobody waits for
// that any more; and when a partition has a leader again, its claim does not compete with the one
// of the connection that its client has made since.
void ShardCore::OnGoneBeforeLogin(Connection& connection) {
  if (!connection.stash.empty()) return;
  const ReadResult result = connection.stream->Read(read_buffer_.data(), read_buffer_.size());
  switch (result.state) {
    case IoState::kOk:
      return memory_.KeepUnread(connection, mqtt::AsBytes({read_buffer_.data(), result.bytes}));
    case IoState::kAgain:
      return;
    case IoState::kClosed:
    case IoState::kError:
      return Close(connection, {.cause = CloseCause::kPeerClosed});
  }
}

void ShardCore::Discard(Connection& connection) {
  for (int i = 0; i < kReadsPerVisit; ++i) {
    const ReadResult result = connection.stream->Read(read_buffer_.data(), read_buffer_.size());
    if (result.state == IoState::kAgain) {
      if (connection.stream->HasBufferedInput()) break;
      return;
    }
    if (result.state != IoState::kOk) return Bury(connection);
  }
  VisitAgain(connection);
}

void ShardCore::KeepHalfSent(Connection& connection, mqtt::Bytes bytes, size_t packet_bytes) {
  const bool begins = connection.stash.empty();
  memory_.KeepHalfSent(connection, bytes, packet_bytes);
  if (begins && connection.phase == Phase::kConnected)
    wheel_.File(connection, DeadlineOf(connection));
  if (memory_.anyone_starves()) tick_due_ns_ = std::min(tick_due_ns_, int64_t{now_tick} * kTickNs);
}

void ShardCore::Pause(Connection& connection, PauseReason reason) {
  if (connection.pauses == 0 && reason != kPauseDeciding) metrics.reads_paused.Add();
  connection.pauses |= reason;
}

void ShardCore::Resume(Connection& connection, PauseReason reason) {
  if ((connection.pauses & reason) == 0) return;
  connection.pauses &= static_cast<uint8_t>(~reason);
  if (connection.pauses != 0) return;
  connection.resumed = true;  // At the next visit: what is stashed, then what the kernel has.
  VisitAgain(connection);
}

void ShardCore::PauseUntil(Connection& connection, int64_t until_ns) {
  if ((connection.pauses & kPauseThrottle) != 0) return;
  Pause(connection, kPauseThrottle);
  throttled_.Add(until_ns, connection.ref.connection);
}

void ShardCore::Close(Connection& connection, const CloseOrder& order) {
  if (connection.phase == Phase::kLingering || connection.phase == Phase::kClosed) return;
  if (order.say.has_value() && connection.phase == Phase::kConnected &&
      connection.version == mqtt::Version::k5) {
    mqtt::Disconnect packet;  // [MQTT5-3.14.4-1]: nothing follows it.
    // [MQTT5-3.14.2-1]: others, such as Banned, are for CONNACK. A hook or an authentication method
    // may say any.
    packet.reason = mqtt::IsAllowed(*order.say, mqtt::PacketType::kDisconnect)
                        ? *order.say
                        : mqtt::ReasonCode::kAdministrativeAction;
    if (!order.server_reference.empty()) packet.server_reference = order.server_reference;
    std::string bytes;
    if (!mqtt::Encode(packet, connection.version, bytes, connection.session->packet_size_max)) {
      packet.server_reference.reset();  // [MQTT5-3.1.2-24]
      mqtt::Encode(packet, connection.version, bytes);
    }
    SendPacket(*this, connection, mqtt::PacketType::kDisconnect, bytes);
    metrics.disconnects_sent[static_cast<size_t>(packet.reason)].Add();
  }
  metrics.connections_closed[order.cause].Add();
  if (observer != nullptr) observer->OnClosed(connection, order.cause);
  if (const std::string_view words = WordsFor(order.cause); !words.empty())
    LogRefused(connection, "connection closed", words, "rule", order.rule);
  connecting_.OnClosed(connection, order.session);
  if (hooking_ != nullptr) hooking_->OnEnded(connection, order.cause);
  if (connection.session != nullptr) EndSession(connection, order);
  connection.connecting.reset();
  memory_.input().Clear(connection.stash);
  const bool peer_is_gone = order.cause == CloseCause::kPeerClosed ||
                            order.cause == CloseCause::kTransportError ||
                            order.cause == CloseCause::kDisconnect;
  if (peer_is_gone) return Bury(connection);
  // What we said must arrive: if unread input were left at close(), the kernel would reset the
  // connection.
  connection.phase = Phase::kLingering;
  connection.pauses = 0;
  connection.phase_tick = InTicks(options.linger_timeout_s);
  wheel_.File(connection, connection.phase_tick);
  MarkDirty(connection);
}

void ShardCore::EndSession(Connection& connection, const CloseOrder& order) {
  Session& session = *connection.session;
  if (base::LogEnabled(base::LogLevel::kDebug)) {
    base::Log(base::LogLevel::kDebug, "client disconnected",
              {{"client", base::Shortened(base::AbslView(session.client_id.view()))},
               {"cause", std::string(Name(order.cause))}});
  }
  subscribing_.End(session);
  publishing_.OnClosed(connection);
  deliverer_.OnSessionEnded(session);
  metrics.inflight_messages.Add(-static_cast<int64_t>(session.outbound.in_flight()));
  metrics.queued_messages.Add(-static_cast<int64_t>(session.outbound.queued_messages()));
  metrics.queued_bytes.Add(-static_cast<int64_t>(session.outbound.queued_bytes()));
  size_t lost = session.outbound.in_flight() + session.outbound.queued_messages();
  session.outbound.TakeShared([&](mqtt::MessagePtr message, const std::string& filter) {
    publishing_.HandOn(std::move(message), filter, {});
    --lost;
  });
  if (!session.durable && lost > 0) metrics.dropped[DropCause::kSessionEnded].Add(lost);
  AskAcknowledged(session);  // What the client has acknowledged, it has.
  storage::CloseSession close;
  close.client_id = session.client_id.view();
  close.epoch = session.epoch;
  close.connection = connection.ref;
  close.cause = order.session;
  close.expiry_s = order.expiry_s;
  if (session.durable) close.sent_through = session.outbound.last_sequence();
  Ask(std::move(close));
  if (connection.counted) metrics.clients_connected.Add(-1);
  if (!session.durable) metrics.sessions_transient.Add(-1);
  connection.counted = false;
  connection.session.reset();
}

void ShardCore::Bury(Connection& connection) {
  if (connection.phase == Phase::kClosed) return;
  connection.phase = Phase::kClosed;
  connection.pauses = 0;  // Whoever would end one finds nothing to resume.
  if (connection.again_place != Connection::kNotListed) {
    again_[connection.again_place] = nullptr;
    connection.again_place = Connection::kNotListed;
  }
  if (hooking_ != nullptr) hooking_->OnGone(connection);
  port_.Unwatch(connection);
  connection.output.Clear(buffers);
  memory_.input().Clear(connection.stash);
  CountOutput(connection);
  metrics.connections.Add(-1);
  if (connection.listener.tls) metrics.connections_tls.Add(-1);
  if (connection.listener.websocket) metrics.connections_websocket.Add(-1);
  dead_.push_back(&connection);
}

void ShardCore::OnMailTaken(size_t count) {
  if (count == 0) return;
  metrics.mailbox_batches.Add();
  metrics.mailbox_messages.Add(count);
  publishing_.TellSenders();
  if (nodes_ != nullptr) nodes_->TellSenders();
}

bool ShardCore::FinishRound() {
  if (nodes_ != nullptr) nodes_->LetGoOfCutOff();
  SendAll();  // Those who are connected go first.
  if (arrivals_.waiting() != 0) {
    ServeArrivals();
    SendAll();
  }
  again_listed_ = again_.size();
  return again_listed_ != 0;
}

// Changed routes first, then requests, then messages to other shards: what they make of a request
// (a route to a partition) reaches the host behind it.
void ShardCore::PostAll() {
  const bool urgent = std::exchange(routes_changed, false);
  for (uint32_t shard = 0; shard < shards; ++shard) {
    if (auto batch = TakeAnnouncements(static_cast<storage::ShardId>(shard)))
      port_.Post(static_cast<storage::ShardId>(shard), std::move(batch));
  }
  if (!requests.empty()) {
    metrics.storage_requests.Add(requests.size());
    metrics.requests_kept.Set(static_cast<int64_t>(streams.kept()));
    const size_t count = requests.size();
    world_.partitions->Submit(id, std::exchange(requests, {}));
    requests.reserve(std::min(count, kRequestsExpectedMax));
  }
  for (uint32_t shard = 0; shard < shards; ++shard) {
    if (auto batch = TakeOutbox(static_cast<storage::ShardId>(shard)))
      port_.Post(static_cast<storage::ShardId>(shard), std::move(batch));
    if (urgent && shard != id) port_.Hurry(static_cast<storage::ShardId>(shard));
  }
  if (forwarder != nullptr) forwarder->Flush(id);
}

void ShardCore::SendAll() {
  CountLookups();
  while (!closing.empty() || !dirty.empty()) {
    if (!closing.empty()) CloseAll();
    FlushAll();
  }
  PostAll();
  metrics.memory.Set(base::MemoryUse::kOutput, buffers.held_bytes());
  for (const Connection* const connection : dead_) {
    const auto used = terms_in_use.find(&connection->listener);
    connection_numbers.erase(connection->ref.connection);
    connections.erase(connection->ref.connection);
    if (--used->second.connections == 0) terms_in_use.erase(used);
  }
  dead_.clear();
  if (const uint64_t delivered = deliverer_.TakeDelivered(); delivered > 0) {
    metrics.delivery_latency.RecordNs(world_.clock->MonotonicNs() - turn_began_ns_, delivered);
  }
}

void ShardCore::CloseAll() {
  for (const auto& [number, order] : std::exchange(closing, {})) {
    if (Connection* const connection = Find(number)) Close(*connection, order);
  }
}

// Both lists keep their memory.
void ShardCore::FlushAll() {
  if (routes_changed) PostAll();
  flushing_.swap(dirty);
  for (Connection* const connection : flushing_) {
    connection->dirty = false;
    if (connection->phase != Phase::kClosed) Flush(*connection);
  }
  flushing_.clear();
}

void ShardCore::CountOutput(Connection& connection) {
  const size_t bytes = connection.output.bytes();
  if (bytes == connection.bytes_counted) return;
  metrics.output_bytes.Add(static_cast<int64_t>(bytes) -
                           static_cast<int64_t>(connection.bytes_counted));
  connection.bytes_counted = bytes;
}

void ShardCore::CountAnswers(Connection& connection) {
  if (connection.answer_bytes == 0 || connection.output.written() < connection.answers_mark) return;
  connection.answer_bytes = 0;
  connection.answers_mark = connection.output.appended();
  Resume(connection, kPauseAnswers);
}

void ShardCore::CountLookups() {
  const uint64_t finds = router.finds() - std::exchange(finds_counted_, router.finds());
  const uint64_t misses =
      router.cache_misses() - std::exchange(misses_counted_, router.cache_misses());
  if (finds == 0) return;
  metrics.match_cache_hits.Add(finds - misses);
  metrics.match_cache_misses.Add(misses);
}

void ShardCore::Flush(Connection& connection) {
  Session* const session = connection.session.get();
  if (session != nullptr) AskAcknowledged(*session);
  IoState state = IoState::kOk;
  if (!connection.output_blocked) state = connection.output.Flush(buffers, *connection.stream);
  CountOutput(connection);
  CountAnswers(connection);
  if (state == IoState::kAgain) connection.output_blocked = true;
  if (state == IoState::kError || state == IoState::kClosed) {
    if (connection.phase == Phase::kLingering) return Bury(connection);
    return Close(connection, {.cause = CloseCause::kPeerClosed});
  }
  if (connection.phase == Phase::kLingering) {
    if (connection.output.empty()) {
      connection.stream->StartClose();
      VisitAgain(connection);  // The peer's end may have come already.
    }
    return;
  }
  // As soon as there is room, not when all has left: what of QoS 0 comes next takes the room, and
  // while that is more than the client reads, the output is never empty. Here, right behind the
  // write, what is owed goes first.
  if (session != nullptr &&
      connection.output.bytes() < InMemory(session->limits.output_bytes_max)) {
    deliverer_.Drain(*session);  // Marks the connection again if anything went out.
    subscribing_.ContinueReplays(*session);
  }
  if (const uint32_t deadline = DeadlineOf(connection); deadline != 0)
    wheel_.File(connection, deadline);
}

}  // namespace broker
