#include "broker/shard.h"

#include <pthread.h>
#include <sys/epoll.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/thread_priority.h"
#include "broker/transport/transport.h"

namespace broker {
namespace {

// A shard's streams are transports: it has no others.
Transport& TransportOf(const Connection& connection) {
  return static_cast<Transport&>(*connection.stream);
}

}  // namespace

// What runs in the poller's turns. Made when there is a poller.
struct Shard::Loop {
  explicit Loop(Poller& poller) : timer(poller) {}

  Timer timer;
  int64_t timer_due_ns = ShardCore::kNever;  // As it is set.
  struct Door {
    size_t listener = 0;
    std::unique_ptr<Acceptor> acceptor;
  };
  std::vector<Door> doors;
  bool held = false;
  size_t next_adopter = 0;
};

absl::StatusOr<std::unique_ptr<Shard>> Shard::Create(storage::ShardId id, uint32_t shards,
                                                     ShardFleet& fleet, ShardMetrics& metrics) {
  auto shard = std::unique_ptr<Shard>(new Shard(id, shards, fleet, metrics));
  Poller::Handler& handler = *shard;
  ASSIGN_OR_RETURN(shard->poller_, Poller::Create(handler));
  shard->loop_ = std::make_unique<Loop>(*shard->poller_);
  return shard;
}

Shard::Shard(storage::ShardId id, uint32_t shards, ShardFleet& fleet, ShardMetrics& metrics)
    : fleet_(fleet),
      mailbox_([this] { poller_->Wake(); }),
      core_(id, shards, fleet.world, metrics, *this, base::Rng::FromEntropy()) {}

Shard::~Shard() { Join(); }

void Shard::Start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), absl::StrCat("shard-", core_.id).c_str());
    base::SetThreadPriority(base::ThreadPriority::kTurns);
    OnTimer();
    poller_->Run();
  });
}

void Shard::Join() {
  if (thread_.joinable()) thread_.join();
}

void Shard::StartAccepting(const std::vector<std::shared_ptr<Listener>>& listeners) {
  for (size_t index = 0; index < listeners.size(); ++index) {
    if (core_.listeners.contains(index)) StartAccepting(listeners[index], index);
  }
}

void Shard::StartAccepting(const std::shared_ptr<Listener>& listener, size_t index) {
  if (core_.drain.begun()) return;
  const bool spread = listener->shares_one_socket() && core_.shards > 1;
  auto acceptor = std::make_unique<Acceptor>(
      *poller_, listener, core_.id, [this, index, spread](std::unique_ptr<Transport> transport) {
        if (!spread) return core_.Accept(std::move(transport), index);
        const auto target = static_cast<storage::ShardId>(loop_->next_adopter++ % core_.shards);
        core_.Send(target, AdoptConnection{std::move(transport), index});
      });
  if (loop_->held) acceptor->Hold();
  loop_->doors.push_back({index, std::move(acceptor)});
}

void Shard::StopAccepting() {
  for (const Loop::Door& door : loop_->doors) door.acceptor->StopAccepting();
}

void Shard::CloseListener(size_t index) {
  core_.listeners.erase(index);
  std::erase_if(loop_->doors, [index](const Loop::Door& door) {
    if (door.listener != index) return false;
    door.acceptor->StopAccepting();
    return true;
  });
}

void Shard::BeginDrain(uint32_t ticks, std::function<void()> on_drained) {
  StopAccepting();
  on_drained_ = std::move(on_drained);
  core_.drain.Begin(ticks);
}

void Shard::ShutDown(std::optional<absl::Duration> timeout) {
  StopAccepting();
  core_.ShutDown(timeout);
}

// ---- The poller's turns

void Shard::OnTurn() {
  mailbox_.Awake();
  core_.BeginTurn();
}

void Shard::OnEvents(void* target, uint32_t events) {
  Connection& connection = *static_cast<Connection*>(target);
  const bool gone = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  const bool writable = (events & EPOLLOUT) != 0;
  bool readable = gone || (events & EPOLLIN) != 0;
  if (writable && connection.phase != Phase::kClosed) {
    Transport& transport = TransportOf(connection);
    if (transport.WantsWrite()) {
      transport.Write(nullptr, 0);  // Control frames, also while reading is paused.
      readable = true;              // Handshakes go on in `Read`.
    }
  }
  core_.OnReady(connection, {.readable = readable, .writable = writable, .gone = gone});
}

bool Shard::OnEndOfRound() {
  core_.ReadAgain();
  TakeMail();
  const bool more = core_.FinishRound();
  SetTimer();
  return more;
}

bool Shard::OnSleep() {
  if (core_.HasWork() || !mailbox_.Sleep()) return false;
  if (on_drained_ && core_.drain.done()) std::exchange(on_drained_, nullptr)();
  if (core_.finished()) poller_->Stop();
  return true;
}

void Shard::OnTimer() {
  loop_->timer_due_ns = ShardCore::kNever;
  if (core_.OnTimer()) poller_->LookAtAsio();  // It misses nothing for long, whatever it was.
}

void Shard::SetTimer() {
  const int64_t due_ns = core_.due_ns();
  if (due_ns == loop_->timer_due_ns) return;
  loop_->timer_due_ns = due_ns;
  const int64_t wait_ns = due_ns - fleet_.world.clock->MonotonicNs();
  loop_->timer.Start(Timer::Clock::now() + std::chrono::nanoseconds(wait_ns),
                     [this] { OnTimer(); });
}

// ---- What the core wants

void Shard::Post(storage::ShardId to, std::unique_ptr<base::Batch<ShardTask>> batch) {
  fleet_.shards[to]->mailbox_.Post(std::move(batch));
}

void Shard::Hurry(storage::ShardId to) { fleet_.shards[to]->core_.NoteRoutesCame(); }

void Shard::TakeMail() {
  core_.OnMailTaken(mailbox_.TakeAll([this](ShardTask&& task) { core_.OnTask(std::move(task)); }));
}

absl::Status Shard::Watch(Connection& connection) {
  return poller_->Add(TransportOf(connection).fd(), &connection);
}

void Shard::Unwatch(Connection& connection) {
  poller_->Remove(TransportOf(connection).fd(), &connection);
}

void Shard::Adopt(std::unique_ptr<Stream> stream, size_t listener) {
  core_.Accept(std::move(stream), listener);
}

void Shard::HoldAcceptors(bool hold) {
  loop_->held = hold;
  for (const Loop::Door& door : loop_->doors) hold ? door.acceptor->Hold() : door.acceptor->GoOn();
}

}  // namespace broker
