#include "broker/shard/shard_memory.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/log.h"
#include "broker/shard/connect_flow.h"
#include "mqtt/message_memory.h"

namespace broker {
namespace {

// Above the memory mark this long although nothing more was kept for slow readers: those who hold
// most have to go.
constexpr uint32_t kPatienceTicks = 3 * ShardContext::kTicksPerSecond;
constexpr uint32_t kBetweenTicks = 1 * ShardContext::kTicksPerSecond;
// Nobody goes for less.
constexpr uint64_t kWorthBytes = 64 * 1024;

}  // namespace

void ShardMemory::KeepUnread(Connection& connection, mqtt::Bytes bytes) {
  input_.Append(
      connection.stash, bytes, 0,
      {.connection = connection.ref.connection, .tick = context_.now_tick, .unread = true});
}

void ShardMemory::KeepHalfSent(Connection& connection, mqtt::Bytes bytes, size_t packet_bytes) {
  input_.Append(connection.stash, bytes, packet_bytes,
                {.connection = connection.ref.connection, .tick = context_.now_tick});
  // Bytes that arrive are life: a packet may take longer than the Keep Alive, within
  // `packet_timeout`.
  connection.last_packet_tick = context_.now_tick;
  if ((connection.pauses & kPauseMemory) != 0 ||
      budget_.Fits(input_.held_bytes(), InputBytesMax(), [this] { return InputBytesHeld(); }))
    return;
  context_.Pause(connection, kPauseMemory);
  starved_.push_back(connection.ref.connection);
}

void ShardMemory::OnTick() {
  RelieveInput();
  RelieveMemory();
}

int64_t ShardMemory::InputBytesMax() const {
  return static_cast<int64_t>(context_.InMemory(context_.options.input_bytes_max));
}

int64_t ShardMemory::InputBytesHeld() const {
  int64_t held = 0;
  for (const ShardMetrics* const shard : all_) held += shard->memory.bytes(base::MemoryUse::kInput);
  return held;
}

// Connections are not read from because there is no room for what they send. Lets them go on, or
// makes room for the next tick.
void ShardMemory::RelieveInput() {
  if (starved_.empty()) return;
  if (InputBytesHeld() > RoomAgainBelow(InputBytesMax())) {
    for (uint32_t shard = 0; shard < context_.shards; ++shard) {
      context_.Send(static_cast<storage::ShardId>(shard), InputRelief{});
    }
    return;
  }
  budget_.LookAgain();
  for (const uint64_t number : std::exchange(starved_, {})) {
    if (Connection* const connection = context_.Find(number))
      context_.Resume(*connection, kPauseMemory);
  }
}

void ShardMemory::CloseHalfSent() {
  const int64_t held = InputBytesHeld();
  const int64_t excess = held - RoomAgainBelow(InputBytesMax());
  if (excess <= 0) return;
  // Those go first that could send on and do not, longest silent first. Who waits for room is not
  // to blame for the wait and goes after them, earliest begun first. Equals go by what they hold.
  constexpr uint64_t kCouldSendOn = uint64_t{1} << 62;
  constexpr uint32_t kTicksMax = (1 << 20) - 1;
  constexpr int kBytesBits = 40;
  std::vector<MemoryHolder> holders;
  input_.ForEach([&](uint64_t number, uint64_t bytes, uint32_t begun_tick) {
    const Connection* const connection = context_.Find(number);
    const bool waits = connection != nullptr && (connection->pauses & kPauseMemory) != 0 &&
                       connection->stream->HasUnreadInput();
    const uint32_t since =
        waits || connection == nullptr ? begun_tick : connection->last_packet_tick;
    const uint64_t ticks = std::min(context_.now_tick - since, kTicksMax);
    holders.push_back({number, bytes, (waits ? 0 : kCouldSendOn) | ticks << kBytesBits | bytes});
  });
  CloseHolders(holders, ShareOfRelief(input_.held_bytes(), held, excess),
               "half-sent packets take too much memory: who sends nothing for longest is closed");
}

void ShardMemory::CloseHolders(std::vector<MemoryHolder>& holders, int64_t bytes,
                               const char* what_happened) {
  const size_t going = ChooseWhoGoes(holders, bytes);
  for (size_t i = 0; i < going; ++i) {
    Connection* const connection = context_.Find(holders[i].connection);
    if (connection == nullptr) continue;
    if (relief_closed_ == 0) {  // One of them by name.
      relief_example_ = connection->stream->peer().address;
      if (connection->session != nullptr)
        absl::StrAppend(&relief_example_, " ",
                        base::Shortened(base::AbslView(connection->session->client_id.view())));
    }
    ++relief_closed_;
    relief_bytes_ += holders[i].bytes;
    context_.Close(*connection,
                   {.cause = CloseCause::kMemory, .say = mqtt::ReasonCode::kQuotaExceeded});
  }
  if (relief_closed_ == 0 || context_.now_tick < relief_log_tick_) return;
  relief_log_tick_ = context_.now_tick + ShardContext::kTicksPerSecond;
  base::Log(base::LogLevel::kWarning, what_happened,
            {{"closed", std::exchange(relief_closed_, 0)},
             {"bytes", std::exchange(relief_bytes_, 0)},
             {"one_of_them", std::exchange(relief_example_, {})}});
}

void ShardMemory::UseMemoryState(bool high) {
  context_.memory_high = high;
  budget_.LookAgain();
  relief_tick_ = context_.now_tick + kPatienceTicks;
  if (high) CloseHalfSent();
}

// While memory is short. Nothing new is kept for slow readers beyond a small part of their bounds;
// if that is not enough, those who hold most already go, as long as it is clients that hold it.
void ShardMemory::RelieveMemory() {
  if (!context_.memory_high || context_.now_tick < relief_tick_) return;
  relief_tick_ = context_.now_tick + kBetweenTicks;
  base::MemorySums sums{};
  for (const ShardMetrics* const shard : all_) shard->memory.AddTo(sums);
  const auto of = [&](base::MemoryUse use) { return sums[static_cast<size_t>(use)]; };
  const int64_t held = of(base::MemoryUse::kInput) + of(base::MemoryUse::kConnecting) +
                       of(base::MemoryUse::kAliases) + of(base::MemoryUse::kOutput) +
                       mqtt::MessageMemoryBytes();
  const auto mark = static_cast<int64_t>(context_.options.memory_high_bytes);
  if (held < mark / 4) return;
  std::vector<MemoryHolder> holders;
  for (const auto& [number, connection] : context_.connections) {
    const uint64_t bytes = HeldBytes(*connection);
    if (bytes >= kWorthBytes) holders.push_back({number, bytes, bytes});
  }
  CloseHolders(holders, mark / 16 / context_.shards + 1,
               "memory is short for seconds: who holds most of it is closed");
}

// One connection's account: all that is kept for it here. A message counts for each that waits for
// it.
uint64_t ShardMemory::HeldBytes(const Connection& connection) {
  uint64_t bytes = connection.stash.held_bytes() + connection.output.bytes();
  if (connection.connecting != nullptr) bytes += connection.connecting->held.bytes();
  const Session* const session = connection.session.get();
  if (session == nullptr) return bytes;
  bytes += session->outbound.queued_bytes();
  if (session->replays != nullptr) bytes += session->replays->live_topics.held_bytes();
  if (session->aliases_in != nullptr) bytes += session->aliases_in->held_bytes();
  if (session->aliases_out != nullptr) bytes += session->aliases_out->held_bytes();
  return bytes;
}

}  // namespace broker
